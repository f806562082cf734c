"""Numbers that are not finite are neither learned from nor saved, and small and large rewards teach the same."""

from pathlib import Path

import numpy as np
import pytest

from swarmsim.cli import main
from swarmsim.components.protocol.control import JobDone
from swarmsim.components.protocol.step import Observation, read_transition
from swarmsim.errors import MessageRefused, SettingsError
from swarmsim.learning.a2c import A2C
from swarmsim.learning.distributions import Categorical
from swarmsim.learning.hyperparameters import A2CSettings, PPOSettings
from swarmsim.learning.learner import Learner, Transition, clip
from swarmsim.learning.networks import Architecture
from swarmsim.learning.normalize import Normalizer
from swarmsim.learning.ppo import PPO
from swarmsim.learning.seeding import generator
from swarmsim.results.checkpoint import CheckpointDamaged, Checkpoints, read_checkpoint, write_checkpoint
from swarmsim.results.run_directory import read_history

SHAPE = Architecture(n_inputs=4, n_actions=2, hidden=(8,))
SMALL = {"hidden": (8,), "n_steps": 5}
LEARNERS = {
    "a2c": lambda: A2C(SHAPE, A2CSettings(**SMALL), generators()),
    "ppo": lambda: PPO(SHAPE, PPOSettings(**SMALL, replay_size=64, batch_size=16, n_batches=2), generators()),
}
NOT_FINITE = [np.nan, np.inf, -np.inf]


def generators() -> list[np.random.Generator]:
    return [generator(0, name) for name in ("model0", "model1", "model2")]


def play(learner: Learner, n_steps: int, scale: float = 1.0, *, reward=None, observation=None) -> Learner:
    """Play steps of two environments; the last one has the `reward` or the `observation`, if one is given."""
    draw = np.random.default_rng(0)
    no = np.zeros(2, np.bool_)
    for step in range(n_steps):
        observations, rewards = draw.standard_normal((2, 4)), draw.standard_normal(2) * scale
        if step == n_steps - 1:
            observations[0, 1] = observations[0, 1] if observation is None else observation
            rewards[1] = rewards[1] if reward is None else reward
        learner.act(observations.astype(np.float32))
        learner.learn()
        actions, log_probs = draw.integers(2, size=2), np.full(2, -0.7, np.float32)
        learner.record(Transition(actions, rewards.astype(np.float32), no, no, None, ~no, log_probs))
    return learner


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("what", ["reward", "observation"])
@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_not_finite_is_named_and_changes_nothing_that_was_learned(name, what, bad):
    learner = play(LEARNERS[name](), 21)
    with pytest.raises(FloatingPointError, match=f"^{what}s to learn from are not finite"):
        play(learner, 4, **{what: bad}).finish(np.zeros((2, 4), np.float32))
    assert all(np.isfinite(array).all() for array in vars(learner.training_state).values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_learning_that_has_diverged_says_so_instead_of_blaming_the_environment():
    learner = play(LEARNERS["a2c"](), 12)
    learner.weights[1, -2] = np.inf
    with pytest.raises(FloatingPointError, match="diverged.*learning_rate"):
        play(learner, 12)


def test_a_gradient_too_long_for_a_float32_norm_is_clipped_like_any_other():
    gradient = np.array([[3e30, 4e30], [3, 4]], np.float32)
    with np.errstate(over="ignore"):
        clip(gradient, 0.5)
    np.testing.assert_allclose(gradient, [[0.3, 0.4], [0.3, 0.4]], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.parametrize("name", LEARNERS)
def test_rewards_of_any_size_teach_as_those_of_size_1_do(name, scale):
    ordinary, scaled = play(LEARNERS[name](), 60), play(LEARNERS[name](), 60, scale)
    far = [np.abs(learner.weights - LEARNERS[name]().weights).max() for learner in (ordinary, scaled)]
    assert min(far) > 0.001
    unit = ordinary._reward_rms() if name == "a2c" else 1.0  # which a2c divides by only where it is far from 1
    alike = play(LEARNERS[name](), 60, 1 / unit)
    np.testing.assert_allclose(scaled.weights, alike.weights, atol=0.1 * far[0])


def test_rare_rewards_are_not_taken_for_small_ones():
    learner = LEARNERS["a2c"]()
    rewards = np.zeros((5, 1000), np.float32)
    rewards[0, 0] = 1
    assert learner._scaled(rewards) is rewards


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_statistics_of_observations_stay_as_they_were(bad):
    normalizer = Normalizer(2)
    normalizer.count(np.array([[1, 2], [3, 5]], np.float32))
    before = normalizer.state()
    with pytest.raises(FloatingPointError, match="observations"):
        normalizer.count(np.array([[0, 0], [bad, 1]], np.float32))
    after = normalizer.state()
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_message_with_numbers_that_are_not_finite_is_refused_with_its_sender(bad):
    message = {"SENT_BY": "ann", "OBSERVATION": np.zeros((2, 4), np.float32), "DETERMINISTIC": False}
    message |= {"ACTION": [0, 1], "REWARD": np.ones(2, np.float32), "DONE": [False, True], "TRUNCATED": [False, True]}
    message["FINAL_OBSERVATION"] = np.zeros((2, 4), np.float32)
    assert read_transition(message, 2, 4, Categorical(2), ["model0"]).rewards.tolist() == [1, 1]
    for key in ("REWARD", "FINAL_OBSERVATION"):
        damaged = np.where(np.arange(message[key].size).reshape(message[key].shape) == 1, bad, message[key])
        with pytest.raises(MessageRefused, match=f"^{key} from 'ann' is one .*finite"):
            read_transition({**message, key: damaged.astype(np.float32)}, 2, 4, Categorical(2), ["model0"])
    with pytest.raises(MessageRefused, match="^OBSERVATION from 'ann' is one .*finite"):
        Observation.read({**message, "OBSERVATION": np.full((2, 4), bad, np.float32)}, 4)
    with pytest.raises(MessageRefused, match="finite return"):
        JobDone.read({"STATUS": "ENV_DONE", "AVG_SCORE": 1.0, "RETURNS": np.array([bad]), "LENGTHS": [3]})


def test_observations_whose_sum_alone_is_too_large_are_taken():
    vast = np.full((2, 4), np.finfo(np.float32).max)
    with np.errstate(over="ignore"):
        assert Observation.read({"OBSERVATION": vast, "DETERMINISTIC": True}, 4).observations.max() == vast.max()


# --- checkpoints

SPOILED = {"components": {"models0-1": {"weights": np.array([[1, np.nan]], np.float32)}}}
SOUND = {"components": {"models0-1": {"weights": np.ones((1, 2), np.float32), "log_probs": np.array([np.nan])}}}


def test_a_spoiled_checkpoint_replaces_and_removes_no_good_one(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    good = checkpoints.write(1, SOUND, complete=False)
    for number in (1, 2):
        with pytest.raises(SettingsError, match="is not written: components/models0-1/weights is not finite"):
            checkpoints.write(number, SPOILED, complete=False)
    assert checkpoints.read_newest(pytest.fail)[0] == good
    assert [path.name for path in tmp_path.iterdir()] == [good.name]


def test_a_run_continues_from_the_checkpoint_before_one_that_is_spoiled(copied_run, capsys):
    newest = copied_run / "checkpoint" / "round-0002.npz"
    state = read_checkpoint(newest)
    state["components"]["models0-2"]["first_moment"][0, 0] = np.inf
    write_checkpoint(newest, state)
    before = returns_of(copied_run)
    assert main(["--resume", str(copied_run), "--no-progress"]) == 0
    remark = f"{newest} cannot be continued: components/models0-2/first_moment is not finite; the one before it is used"
    assert remark in capsys.readouterr().err
    assert returns_of(copied_run) == before


def returns_of(run: Path) -> list[list[float]]:
    return [record.train_returns for record in read_history(run)]


def test_a_run_with_only_spoiled_checkpoints_says_so(tmp_path):
    write_checkpoint(tmp_path / "round-0001.npz", SPOILED)
    seen: list[CheckpointDamaged] = []
    with pytest.raises(SettingsError, match="no sound checkpoint"):
        Checkpoints(tmp_path, keep=1).read_newest(seen.append)
    assert len(seen) == 1
