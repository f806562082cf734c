import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from swarmsim.components.job import restarted
from swarmsim.envs.episodes import Episodes
from swarmsim.envs.make import Shape, make_env, shape_of
from swarmsim.errors import SettingsError
from tests import environments

COUNTING = "tests.environments:Counting-v0"


def played(n_envs: int, lengths: list[int]) -> Episodes:
    """Play episodes of these lengths: the test environment takes its seed as its length."""
    episodes = Episodes([make_env(COUNTING) for _ in range(n_envs)], lengths)
    while not episodes.done:
        episodes.step(np.zeros(n_envs, np.int64))
    return episodes


@pytest.mark.parametrize("n_envs", [1, 2, 3, 10])
def test_exactly_the_asked_episodes_are_played_to_their_end_whatever_their_lengths(n_envs):
    lengths = [7, 1, 1, 12, 3, 2, 1]
    episodes = played(n_envs, lengths)
    assert episodes.lengths == lengths
    assert episodes.returns == [n * (n + 1) / 2 for n in lengths]
    assert sorted(episodes.ended) == list(range(7))
    assert episodes.n_steps == sum(lengths)


@pytest.mark.parametrize("n_envs", [1, 3])
def test_restored_episodes_continue_or_begin_anew(n_envs):
    rng = np.random.default_rng(0)
    actions = rng.integers(2, size=(60, n_envs))
    first = Episodes([make_env("CartPole-v1") for _ in range(n_envs)], [5, 6, 7, 8, 9])
    for action in actions[:25]:
        first.step(action)
    second = Episodes([make_env("CartPole-v1") for _ in range(n_envs)], ())
    state = first.state()
    assert second.restore(state)
    for action in actions[25:]:
        if not first.done:
            assert np.array_equal(first.observations, second.observations)
            assert first.active.tolist() == second.active.tolist()
            first.step(action)
            second.step(action)
    assert (first.returns, first.lengths, first.ended) == (second.returns, second.lengths, second.ended)

    anew = Episodes([make_env("CartPole-v1") for _ in range(n_envs)], ())
    anew.restore(restarted({"attempt": 0, "episodes": state})["episodes"])
    running = [running[0] for running in state["running"] if running]
    assert all(anew.lengths[number] == 0 for number in running)
    assert [anew.lengths[number] for number in state["ended"]] == [
        state["lengths"][number] for number in state["ended"]
    ]


def test_an_environment_that_ignores_its_seed_is_noticed():
    episodes = Episodes([make_env(COUNTING)], [9])
    episodes.step(np.zeros(1, np.int64))
    state = episodes.state()
    state["running"][0][1].append(0)
    assert not Episodes([make_env(COUNTING)], ()).restore(state)


def test_idle_environments_are_not_stepped_and_their_rows_are_zero():
    episodes = Episodes([make_env(COUNTING) for _ in range(3)], [1, 4])
    assert episodes.active.tolist() == [True, True, False]
    result = episodes.step(np.zeros(3, np.int64))
    assert result.rewards.tolist() == [1, 1, 0]
    assert result.truncated.tolist() == [True, False, False]
    assert episodes.active.tolist() == [False, True, False]


def test_a_truncated_episode_has_a_last_observation_besides_the_first_one_of_the_next():
    episodes = Episodes([make_env(COUNTING)], [2, 3])
    episodes.step(np.zeros(1, np.int64))
    result = episodes.step(np.zeros(1, np.int64))
    assert result.truncated.tolist() == [True]
    assert not result.terminated.any()
    assert result.final_observations.tolist() == [[2.0]]
    assert episodes.observations.tolist() == [[0.0]]


def test_an_episode_that_ends_both_ways_at_once_counts_as_terminated():
    environments.Corridor.MAX_STEPS, before = 4, environments.Corridor.MAX_STEPS
    try:
        episodes = Episodes([make_env("tests.environments:Corridor-v0")], [0])
        for _ in range(4):
            result = episodes.step(np.ones(1, np.int64))
    finally:
        environments.Corridor.MAX_STEPS = before
    assert result.terminated.tolist() == [True]
    assert result.truncated.tolist() == [False]


def test_actions_that_an_environment_counts_from_one_are_counted_from_zero_here():
    episodes = Episodes([make_env("tests.environments:Corridor-v0")], [0])
    for _ in range(4):
        episodes.step(np.ones(1, np.int64))
    assert episodes.returns == pytest.approx([environments.Corridor.OPTIMUM])


@pytest.mark.parametrize("name", ["Bandit", "Corridor"])
@pytest.mark.filterwarnings("ignore:.*(check|Box|render|observation space).*")
def test_the_environments_of_the_tests_pass_gymnasiums_checker(name):
    check_env(getattr(environments, name)(), skip_render_check=True)


def test_the_shape_of_an_environment():
    assert (shape_of("CartPole-v1").n_inputs, shape_of("CartPole-v1").n_actions) == (4, 2)
    assert (shape_of("Acrobot-v1").n_inputs, shape_of("Acrobot-v1").n_actions) == (6, 3)


@pytest.mark.parametrize(
    ("env_id", "sentence"),
    [
        ("CartPol-v1", "unknown environment 'CartPol-v1'; .*did you mean 'CartPole-v1'"),
        ("CartPole-v99", "'CartPole-v99'.*did you mean 'CartPole-v1'"),
        ("cartpole", "unknown environment 'cartpole'"),
        ("no_such_module:X-v0", "'no_such_module:X-v0': No module named 'no_such_module'"),
        ("Nowhere/CartPole-v1", "unknown environment"),
        ("not a name!", "environment"),
        ("tests.environments:Wordy", r"has the observation space Sequence\(.*\); .* elements all have the same size"),
        (
            "tests.environments:Paired",
            r"has the action space Tuple\(.*\); supported: Discrete, MultiDiscrete, MultiBinary and Box",
        ),
        ("tests.environments:Manifold", "has 1000000 combinations of choices as actions; supported: at most 4096"),
    ],
)
def test_an_environment_that_cannot_be_used_is_refused_in_one_sentence(env_id, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        make_env(env_id)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("env_id", "n_inputs", "n_actions", "continuous"),
    [
        ("FrozenLake-v1", 16, 4, False),
        ("Taxi-v4", 500, 6, False),
        ("Pendulum-v1", 3, 1, True),
        ("tests.environments:Composed", 9, 6, False),
        ("tests.environments:Switches", 1, 8, False),
        ("tests.environments:Levers", 1, 2, True),
    ],
)
def test_spaces_of_every_kind_become_vectors_and_one_choice_or_numbers(env_id, n_inputs, n_actions, continuous):
    assert shape_of(env_id) == Shape(n_inputs, n_actions, continuous)
    episodes = Episodes([make_env(env_id)], [0])
    assert episodes.observations.shape == (1, n_inputs)
    result = episodes.step(np.zeros((1, n_actions), np.float32) if continuous else np.array([n_actions - 1]))
    assert result.rewards.shape == (1,)


def test_each_combination_of_choices_is_one_action():
    env = make_env("tests.environments:Composed")
    taken = []
    for action in range(6):
        env.reset(seed=0)
        env.step(np.int64(action))
        taken.append(tuple(env.unwrapped.action.tolist()))
    assert taken == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize(("given", "taken"), [([-1, -1], [[0, 10]]), ([1, 1], [[1, 30]]), ([0, 5], [[0.5, 30]])])
def test_numbers_are_rescaled_to_their_bounds_and_clipped(given, taken):
    env = make_env("tests.environments:Levers")
    env.reset(seed=0)
    env.step(np.array(given, np.float32))
    assert np.allclose(env.unwrapped.action, taken)
