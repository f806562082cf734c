"""What comes from a user's environment is checked where it enters."""

import json
from fractions import Fraction

import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

import swarmsim
from swarmsim.cli import main
from swarmsim.components.environment import replacement_state
from swarmsim.components.persistence import StateStore
from swarmsim.envs import episodes as episodes_module
from swarmsim.envs.border import Checked
from swarmsim.envs.episodes import Border, Episodes
from swarmsim.envs.make import EnvSource, make_env, properties_of
from swarmsim.errors import BadValue, ComponentFailed, SettingsError
from tests.conftest import LITTLE, long_after
from tests.faults import border_environments as environments

HERE = "tests.faults.border_environments"
SMALL = {"envs": 1, "rounds": 2, "population": 2, "episodes": 3, "ppo": LITTLE, "progress": False}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """They take longer than the runs."""
    monkeypatch.setattr("swarmsim.experiment.experiment._write_pictures", lambda *_: None)


def run(env: str, **settings):
    return swarmsim.run(**{**SMALL, "env": f"{HERE}:{env}", **settings})


def outcome(**values):
    env = environments.Base()
    env.VALUES, env.BAD_STEP = values, 1
    checked = Checked(env)
    checked.reset(0)
    return checked.step(0)


@pytest.mark.parametrize(
    "reward",
    [1, True, np.float64(1), np.float32(1), np.array(1), np.array([1.0], np.float32), np.int8(1), Fraction(1)],
)
def test_every_kind_of_number_is_a_reward(reward):
    _, taken, *_ = outcome(reward=reward)
    assert (taken, type(taken)) == (1.0, float)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"reward": None}, "the reward is None, which is no number"),
        ({"reward": "1.0"}, "the reward is '1.0', which is no number"),
        ({"reward": 1j}, "the reward is 1j, which is no number"),
        ({"reward": [1.0]}, r"the reward is \[1.0\], which is no number"),
        ({"reward": np.array([1.0, 2.0])}, r"the reward is \[1.0, 2.0\], which is no number"),
        ({"reward": float("nan")}, "the reward is nan, which is not finite"),
        ({"reward": np.float32("-inf")}, "the reward is .*-inf.*, which is not finite"),
        ({"reward": 1e39}, r"the reward is 1e\+39, which is too large for float32"),
        ({"observation": np.zeros(1, np.float32)}, r"has the shape \(1,\), but the observation space has \(2,\)"),
        ({"observation": np.zeros((1, 2), np.float32)}, r"has the shape \(1, 2\), but"),
        ({"observation": np.array([np.nan, 0], np.float32)}, r"the observation is \[nan, 0.0\], which is not finite"),
        ({"observation": np.array([1e300, 0])}, r"the observation is \[1e\+300, 0.0\], which is too large for float32"),
        ({"observation": None}, "the observation is None, which is no array of numbers"),
        ({"observation": ["1", "2"]}, "which is no array of numbers"),
        ({"observation": [[1], [1, 2]]}, "which is no array of numbers"),
        ({"terminated": None}, "terminated is None; it must be True or False"),
        ({"truncated": 2}, "truncated is 2; it must be True or False"),
        ({"terminated": np.array([True, False])}, r"terminated is \[True, False\]; it must be"),
        ({"extra": 1}, r"step\(\) returned .*; it must return observation, reward, terminated, truncated, info"),
    ],
)
def test_what_no_model_can_use_is_refused_in_one_sentence(values, sentence):
    with pytest.raises(BadValue, match=sentence) as caught:
        outcome(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "is_set"), [(np.array([True]), True), (np.bool_(False), False), (1, True), (0, False), (np.array(1), True)]
)
def test_every_kind_of_flag_is_one(flag, is_set):
    assert outcome(terminated=flag)[2] is is_set


@pytest.mark.parametrize("value", [[0.5, 0.5], np.array([0, 1]), np.array([True, False]), np.array([3e38, 1])])
def test_every_kind_of_array_is_an_observation(value):
    assert outcome(observation=value)[0].tolist() == list(value)


def test_a_large_observation_is_checked_too():
    large = np.zeros(5000, np.float32)
    env = environments.Base()
    env.observation_space = environments.spaces.Box(-1, 1, large.shape)
    env.VALUES, env.BAD_STEP = {"observation": large}, 1
    checked = Checked(env)
    env.reset(seed=0)
    assert checked.step(0)[0] is large
    large[-1] = np.inf
    env.reset(seed=0)
    env.episode = 1
    with pytest.raises(BadValue, match="not finite"):
        checked.step(0)


# --- on_bad_value


@pytest.mark.parametrize(
    ("env", "link"), long_after(2, [("BadReward", "queues"), ("BadObservation", "inprocess"), ("BadReward", "sockets")])
)
def test_a_value_that_is_not_finite_ends_the_run_with_its_place_and_a_resume_works(tmp_path, monkeypatch, env, link):
    monkeypatch.setattr(environments.Base, "BAD_EPISODE", 5)
    settings = {"out": str(tmp_path / "run"), "link": link, "eval_env": "own"}
    with pytest.raises(ComponentFailed) as caught:
        run(env, **settings)
    assert f"environment '{HERE}:{env}', training episode 5, step 3: the " in str(caught.value)
    assert "not finite; on_bad_value: drop would" in str(caught.value)
    assert not caught.value.traceback_text
    history = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [failure["healed"] for failure in history["failures"]] == [False]  # it is not replaced in vain
    monkeypatch.setattr(environments.Base, "BAD_EPISODE", 10**9)
    assert len(swarmsim.run(resume=tmp_path / "run")) == 2


def test_a_dropped_episode_keeps_its_earlier_steps_and_is_the_same_on_every_link(caplog):
    runs = [run("BadReward", on_bad_value="drop", link=link, out=None) for link in ("queues", "sockets", "inprocess")]
    returns = [[record.train_returns for record in history.rounds] for history in runs]
    assert returns[0] == returns[1] == returns[2]
    assert returns[0] == [[2.0, 10.0, 10.0], [10.0, 10.0, 10.0]]
    scores = [[record.eval_score_evolved for record in history.rounds] for history in runs]
    assert scores[0] == scores[1] == scores[2]
    assert f"environment '{HERE}:BadReward', training episode 1, step 3: the reward is nan" in caplog.text


@pytest.mark.parametrize(
    ("env", "learner"),
    [("BadObservation", "ppo"), ("BadFirst", "a2c"), ("AlwaysBad", "ppo"), ("BadObservation", "a2c")],
)
def test_nothing_of_a_dropped_step_is_learnt(env, learner, tmp_path):
    sizes = {"ppo": LITTLE} if learner == "ppo" else {"ppo": {}}
    history = run(
        env, on_bad_value="drop", link="inprocess", learner=learner, envs=2, out=str(tmp_path / "run"), **sizes
    )
    assert len(history) == 2
    weights = swarmsim.load_policy(tmp_path / "run").weights.detach().numpy()
    assert np.isfinite(weights).all()


def test_a_dropped_step_is_none_and_its_episode_is_truncated_before_it():
    warnings = []
    border = Border("X", on_bad_value="drop", warn=lambda *words: warnings.append(words))
    episodes = Episodes([make_env(f"{HERE}:BadReward")], [0, 1], border)
    for _ in range(2):
        assert episodes.step(np.zeros(1, np.int64)).dropped is None
    before = episodes.observations
    result = episodes.step(np.zeros(1, np.int64))
    assert (result.dropped.tolist(), result.truncated.tolist(), result.rewards.tolist()) == ([True], [True], [0.0])
    assert np.array_equal(result.final_observations, before)
    assert (episodes.returns, episodes.lengths, episodes.ended) == ([2.0, 0], [2, 0], [0])
    assert warnings[0][1].startswith("environment 'X', training episode 1, step 3: the reward is nan")


def test_a_replay_that_meets_a_bad_value_begins_the_episode_anew():
    episodes = Episodes([make_env(f"{HERE}:BadReward")], [0, 1])
    episodes.step(np.zeros(1, np.int64))
    state = episodes.state()
    state["running"][0][1].extend([0, 0, 0])
    second = Episodes([make_env(f"{HERE}:BadReward")], ())
    assert not second.restore(state)
    assert (second.lengths[0], second.active.tolist()) == (0, [True])


def test_what_a_replacement_continues_from_needs_no_environment(tmp_path):
    assert replacement_state(StateStore(tmp_path / "environment"))["run"] is None


# --- before the start


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ("NeedsArgument", r"cannot be made: TypeError: .*missing 1 required positional argument: 'size'"),
        ("InitRaises", r"cannot be made: RuntimeError: no licence server \(.*, line \d+\)"),
        ("InitExits", r"cannot be made: it called sys.exit\(3\)"),
        ("NoActions", "has no action_space, but None"),
        ("NoObservations", "has no observation_space, but None"),
        ("NothingToSee", r"has the observation space Box\(.*\), which holds no number"),
        ("SpaceRaises", "OSError: no map"),
        ("NoSeed", "cannot be seeded: NoSeed needs 'def reset"),
    ],
)
@pytest.mark.parametrize("form", ["class", "id"])
def test_an_environment_that_raises_is_told_in_one_sentence_with_status_2(env, sentence, form, capsys):
    name = f"{HERE}:{env}"
    if form == "id":
        environments.gymnasium.register(f"{env}-v0", entry_point=name)
        name = f"{env}-v0"
    try:
        assert main(["--env", name, "--rounds", "1", "--no-progress"]) == 2
    finally:
        environments.gymnasium.registry.pop(f"{env}-v0", None)
    error = capsys.readouterr().err
    assert error.startswith(f"swarmsim: environment '{name}' ")
    assert error.count("\n") == 1
    with pytest.raises(SettingsError, match=sentence):
        properties_of(f"{HERE}:{env}")


def test_a_module_with_a_syntax_error_is_told_in_both_forms(in_tmp_path, monkeypatch, capsys):
    (in_tmp_path / "broken_module.py").write_text("x = 1 +\n")
    monkeypatch.syspath_prepend(in_tmp_path)
    for name in ("broken_module:Class", "broken_module:Id-v0"):
        assert main(["--env", name, "--rounds", "1", "--no-progress"]) == 2
        error = capsys.readouterr().err
        assert "invalid syntax" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("env_id", "hint"),
    [
        ("ALE/Pong-v5", "name it 'ale_py:ALE/Pong-v5'"),
        ("BreakoutNoFrameskip-v4", "name it 'ale_py:BreakoutNoFrameskip-v4'"),
        ("MiniGrid-Empty-5x5-v0", "name it 'minigrid:MiniGrid-Empty-5x5-v0'"),
        ("Somewhere/Task-v0", "name that too: PACKAGE:Somewhere/Task-v0"),
    ],
)
def test_an_environment_of_a_package_that_is_not_imported_is_hinted_at(env_id, hint):
    with pytest.raises(SettingsError, match=f"unknown environment '{env_id}'.*{hint}"):
        properties_of(env_id)


def test_text_without_a_bound_is_left_out_of_a_dict_with_a_line(caplog):
    shape, _ = properties_of(f"{HERE}:Grid")
    assert shape.n_inputs == 4 + 3
    assert "the text in 'mission' is left out of its observations" in caplog.text
    assert run("Grid", rounds=1, link="inprocess", out=None)[-1].eval_score == 10


# --- episodes without end


@pytest.mark.parametrize("env", [f"{HERE}:Endless", "CliffWalking-v1", "CartPole-v1"])
def test_max_episode_steps_bounds_training_and_evaluation(env):
    history = swarmsim.run(**SMALL | {"rounds": 1}, env=env, max_episode_steps=7, link="inprocess", out=None)
    assert history[-1].env_steps <= 21
    if "Endless" in env:
        assert (history[-1].train_returns, history[-1].eval_score) == ([7.0] * 3, 7.0)


def test_max_episode_steps_bounds_what_wrappers_make_of_an_environment():
    env = make_env(EnvSource("CartPole-v1", max_episode_steps=600))
    assert isinstance(env, TimeLimit)
    assert env._max_episode_steps == 600


@pytest.mark.parametrize("limit", [None, 60])
def test_a_long_episode_is_worth_one_line_unless_it_has_a_limit(monkeypatch, caplog, limit):
    monkeypatch.setattr(episodes_module, "LONG_EPISODE", 20)
    monkeypatch.setattr(environments.Endless, "LENGTH", 50)
    run("Endless", max_episode_steps=limit, link="inprocess", out=None)
    lines = [line for line in caplog.messages if "max_episode_steps: N would end it" in line]
    assert [("training" in line, "step 20" in line) for line in lines] == (
        [] if limit else [(True, True), (False, True)]
    )
