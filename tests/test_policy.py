"""A trained swarm outside of its run."""

import copy
import io
import os
import pickle
import subprocess
import sys
import warnings
from multiprocessing import get_context

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import swarmsim
from swarmsim.components.environment import episode_seed
from swarmsim.envs.make import make_env, raw_env, shape_of
from swarmsim.errors import SettingsError
from swarmsim.learning.networks import ACTORS, CRITICS, Activations, Architecture, Networks, forward, initial_weights
from swarmsim.learning.normalize import Normalizer
from swarmsim.policy import SwarmPolicy, load_policy
from tests.conftest import ROOT
from tests.environments import Still

RULE = """
def boldest(probabilities):
    return probabilities.max(axis=0)
"""


class Boundless(Still):
    observation_space = spaces.Box(-1.0, 1.0, (2, 3), np.float64)
    action_space = spaces.Box(-np.inf, np.inf, (2, 2), np.float64)


class Scalar(Still):
    observation_space = spaces.Box(-1.0, 1.0, (), np.float32)


class Numbered(Still):
    observation_space = spaces.Discrete(3, start=5)


class Dials(Still):
    observation_space = spaces.MultiDiscrete([2, 3], start=[0, 1])


class Lamps(Still):
    observation_space = spaces.MultiBinary(4)


class Spoken(Still):
    observation_space = spaces.Dict({"said": spaces.Text(4), "at": spaces.Box(-1, 1, (2,))})


class Unsorted(Still):
    """As an OrderedDict has it: the parts are in an order of their own."""

    observation_space = spaces.Dict([("z", spaces.Discrete(2)), ("a", spaces.Box(-1, 1, (2,)))])


class Mission(spaces.Space):
    """Text of a kind of its own, as MiniGrid's."""

    def __init__(self):
        super().__init__(dtype=str)

    def sample(self, **_):
        return "go to the goal"

    def contains(self, x):
        return isinstance(x, str)


class OwnBox(spaces.Box):
    pass


class Grid(Still):
    """Observations as MiniGrid's."""

    observation_space = spaces.Dict(
        {"direction": spaces.Discrete(4), "image": OwnBox(0, 255, (3, 3, 3), np.uint8), "mission": Mission()}
    )


class Guide(Still):
    """Pays by its own observation, for five steps."""

    observation_space = spaces.Dict(
        [
            ("way", spaces.Discrete(2)),
            ("at", spaces.Box(-1, 1, ())),
            ("mission", Mission()),
            ("all", spaces.MultiBinary(2)),
        ]
    )
    n_steps = 0

    def step(self, action):
        self.n_steps += 1
        observation, *_ = super().step(action)
        return (
            observation,
            float(observation["way"] == action) + float(observation["at"]),
            self.n_steps % 5 == 0,
            False,
            {},
        )


OF_EVERY_KIND = ["Boundless", "Scalar", "Numbered", "Dials", "Lamps", "Spoken", "Unsorted", "Grid"]
TEXTS = {"Spoken", "Grid"}  # which Stable-Baselines3 does not take


class HalfBound(Still):
    action_space = spaces.Box(np.array([0, -np.inf], np.float32), np.array([np.inf, 1], np.float32))


def untrained(env_id: str, population: int = 3) -> SwarmPolicy:
    """A policy of random weights, far enough from 0 for actions of all kinds."""
    shape = shape_of(env_id)
    architecture = Architecture(shape.n_inputs, shape.n_actions, (8,), shape.continuous)
    weights = initial_weights(architecture, [np.random.default_rng(i) for i in range(population)])
    architecture.actor[-1].matrices(weights)[:] *= 100
    env = raw_env(env_id)
    return SwarmPolicy(
        {f"model{i}": row for i, row in enumerate(weights)},
        architecture,
        env.action_space,
        observation_space=env.observation_space,
    )


def batch_of(space: spaces.Space, observations: list[object]) -> object:
    """As Gymnasium's and Stable-Baselines3's vectors of environments return them."""
    batch = create_empty_array(space, n=len(observations))
    return concatenate(space, observations, batch)


def score(policy: SwarmPolicy, env: gymnasium.Env, seed: int) -> float:
    observation, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        action, _ = policy.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    return total


@pytest.fixture(scope="module")
def policy(a_run) -> SwarmPolicy:
    return load_policy(a_run.directory)


def test_its_outputs_and_values_are_those_of_the_networks_that_were_trained(policy):
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    activations = Activations.empty(policy.architecture, 3, 50)
    activations.outputs[0][:] = observations
    networks = Networks(policy.architecture, policy.weights.detach().numpy())
    for who in (ACTORS, CRITICS):
        forward(who, networks, activations)
    with torch.no_grad():
        outputs, values = policy(torch.from_numpy(observations)), policy.values(torch.from_numpy(observations))
    assert outputs.shape == (3, 50, 2)
    assert np.allclose(outputs, activations.logits, atol=1e-5)
    assert np.allclose(values, activations.values[..., 0], atol=1e-4)


def test_it_plays_the_last_evaluation_of_its_run_again(a_run, policy):
    env = gymnasium.make("CartPole-v1")
    assert score(policy, env, episode_seed(1, "evaluate", 8, 0)) == a_run[-1].eval_score_evolved


def test_an_earlier_checkpoint_plays_the_evaluation_of_its_round_again(a_run):
    policy = load_policy(a_run.directory / "checkpoint" / "round-0001.npz")
    env = gymnasium.make("CartPole-v1")
    assert score(policy, env, episode_seed(1, "evaluate", 4, 0)) == a_run[0].eval_score_evolved


def test_numbers_and_normalised_observations_play_to_the_last_bit_as_in_the_run_also_from_a_file(tmp_path):
    settings = {"env": "Pendulum-v1", "normalize_observations": True, "ppo": {"n_batches": 4}, "rounds": 1}
    sizes = {"learner": "ppo", "envs": 1, "population": 3, "episodes": 2, "eval_episodes": 2}
    out = str(tmp_path / "run")
    history = swarmsim.run(**settings, **sizes, seed=1, link="inprocess", out=out, progress=False)
    load_policy(out).save(tmp_path / "policy.pt")
    policy = load_policy(tmp_path / "policy.pt")
    env = gymnasium.make("Pendulum-v1")
    scores = [score(policy, env, episode_seed(1, "evaluate", 2, i)) for i in range(2)]
    assert sum(scores) / 2 == history[-1].eval_score_evolved
    seen = policy.as_seen(np.array([[0, 0, 100.0]]))
    assert seen.max() == 10  # deviations, which is where normalised observations end


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "tests.test_policy:Guide"])
def test_it_plays_an_evaluation_again_with_observations_of_the_environments_own_space(tmp_path, env_id):
    settings = {"population": 3, "episodes": 2, "rounds": 1, "eval_episodes": 3, "envs": 1}
    out = str(tmp_path / "run")
    history = swarmsim.run(**settings, env=env_id, seed=1, link="inprocess", out=out, progress=False)
    policy, env = load_policy(out), raw_env(env_id)
    scores = [score(policy, env, episode_seed(1, "evaluate", 2, i)) for i in range(3)]
    assert sum(scores) / 3 == history[-1].eval_score_evolved


def test_the_parts_of_an_observation_stay_in_the_order_of_their_space():
    env_id = "tests.test_policy:Unsorted"
    assert list(untrained(env_id).observation_space) == ["z", "a"]
    observation, vector = raw_env(env_id).reset(seed=0)[0], make_env(env_id).reset(seed=0)[0]
    assert np.array_equal(vector, spaces.flatten(Unsorted.observation_space, observation))


def test_a_member_decides_alone(policy):
    observations = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    alone = policy.member("model1")
    assert alone.names == ["model1"]
    assert torch.equal(alone.weights[0], policy.weights[1])
    best = policy(torch.from_numpy(observations))[1].argmax(dim=-1).numpy()
    assert np.array_equal(alone.predict(observations, deterministic=True)[0], best)
    assert torch.equal(policy.member(1).weights, alone.weights)
    alone.weights.data.zero_()
    assert policy.weights[1].any()


@pytest.mark.parametrize("which", ["model3", 3, -1])
def test_an_unknown_member_is_reported(policy, which):
    with pytest.raises(SettingsError, match=f"unknown member {which!r}; known: model0, model1, model2"):
        policy.member(which)


def test_saved_and_loaded_in_another_process_it_acts_the_same_and_starts_no_process(policy, tmp_path):
    policy.save(tmp_path / "policy.pt")
    program = """
import sys, swarmsim, swarmsim.cli, swarmsim.experiment.experiment
assert "torch" not in sys.modules, "a plain run would import torch"
import numpy as np
from tests.conftest import child_processes
policy = swarmsim.load_policy("policy.pt", seed=5)
observations = np.random.default_rng(0).normal(size=(20, 4))
print(policy.predict(observations)[0].tolist(), policy.names, child_processes())
"""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    policy.set_seed(5)
    actions, _ = policy.predict(np.random.default_rng(0).normal(size=(20, 4)))
    assert (done.stdout, done.stderr) == (f"{actions.tolist()} ['model0', 'model1', 'model2'] []\n", "")


@pytest.mark.parametrize(
    "env_id",
    [
        "CartPole-v1",
        "Pendulum-v1",
        "FrozenLake-v1",
        "tests.environments:Corridor",
        "tests.environments:Composed",
        "tests.environments:Switches",
        "tests.environments:Levers",
        "tests.test_policy:HalfBound",
        *(f"tests.test_policy:{name}" for name in OF_EVERY_KIND),
    ],
)
def test_its_actions_are_of_the_environments_own_space(tmp_path, env_id):
    env = raw_env(env_id)
    untrained(env_id).save(tmp_path / "policy.pt")
    policy = load_policy(tmp_path / "policy.pt")
    assert policy.action_space == env.action_space
    env.observation_space.seed(0)
    drawn = [env.observation_space.sample() for _ in range(100)]
    observations = batch_of(env.observation_space, drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = [policy.predict(observations, deterministic=deterministic)[0] for deterministic in (False, True)]
        single, state = policy.predict(drawn[7], state="kept", deterministic=True)
    assert state == "kept"
    assert np.allclose(single, batches[1][7], atol=1e-4)
    for action in (*batches[0], *batches[1], single):
        assert env.action_space.contains(action), action
    assert len(np.unique(batches[0], axis=0)) > 1
    env.reset(seed=0)
    env.step(single)


def test_its_draws_follow_its_seed_alone():
    policy = untrained("Pendulum-v1")
    observations = np.ones((5, 3))
    first, more = policy.predict(observations)[0], policy.predict(observations)[0]
    assert not np.array_equal(first, more)
    policy.set_seed(0)
    assert np.array_equal(policy.predict(observations)[0], first)
    policy.set_seed(1)
    assert not np.array_equal(policy.predict(observations)[0], first)


@pytest.mark.parametrize("name", ["Composed", *OF_EVERY_KIND])
def test_observations_of_the_environments_own_space_become_the_vectors_of_a_run(name, tmp_path):
    env_id = f"tests.{'environments' if name == 'Composed' else 'test_policy'}:{name}"
    untrained(env_id).save(tmp_path / "policy.pt")
    policies = [untrained(env_id), load_policy(tmp_path / "policy.pt"), untrained(env_id).member(0)]
    own, flat = raw_env(env_id), make_env(env_id)
    drawn = [own.reset(seed=seed)[0] for seed in range(6)]
    vectors = np.stack([flat.reset(seed=seed)[0] for seed in range(6)]).astype(np.float32)
    for policy in policies:
        assert np.array_equal(policy.as_seen(batch_of(own.observation_space, drawn)), vectors)
        assert all(np.array_equal(policy.as_seen(each)[0], row) for each, row in zip(drawn, vectors, strict=True))
        assert np.array_equal(policy.as_seen(vectors[:2]), vectors[:2])
        single, _ = policy.predict(drawn[0], deterministic=True)
        batch_of_one, _ = policy.predict(batch_of(own.observation_space, drawn[:1]), deterministic=True)
        assert np.shape(batch_of_one) == (1, *np.shape(single))


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "FrozenLake-v1", *(f"tests.test_policy:{n}" for n in OF_EVERY_KIND if n not in TEXTS)]
)
@pytest.mark.parametrize("n_envs", [1, 3])
def test_stable_baselines3_steps_it_through_environments_of_each_space(name, n_envs):
    policy = untrained(name)
    env = DummyVecEnv([lambda: Monitor(raw_env(name))] * n_envs)
    mean, _ = evaluate_policy(policy, env, n_eval_episodes=3)
    assert np.isfinite(mean)


@pytest.mark.parametrize(
    ("name", "observation", "sentence"),
    [
        ("Boundless", np.zeros((2, 2)), r"shape \(2, 3\), or \(n, …\) in a batch of n, not \(2, 2\)"),
        ("Boundless", np.zeros((0, 2, 3)), r"in a batch of n, not \(0, 2, 3\)"),
        ("Boundless", {"at": np.zeros((2, 3))}, r"is {'at': array.*, which is no array of numbers"),
        ("Boundless", [[0, 1], [0]], r"is \[\[0, 1\], \[0\]\], which is no array of numbers"),
        ("Boundless", np.full((2, 3), np.nan), r"which is not finite"),
        ("Scalar", np.zeros((2, 2)), r"shape \(\), or \(n, …\) in a batch of n, not \(2, 2\)"),
        ("Numbered", 8, r"the observation is 8, but the observation space is Discrete\(3, start=5\)"),
        ("Numbered", np.array([5, 8]), r"observation 1 of the batch is .*8.*, but"),
        ("Numbered", np.array([], int), "the batch holds no observation"),
        ("Numbered", "five", "the observation is 'five', but"),
        ("Dials", np.array([0, 4]), r"the observation is \[0, 4\], but the observation space is MultiDiscrete"),
        ("Dials", np.array([0.5, 1]), r"the observation is \[0.5, 1.0\], but the observation space is MultiDiscrete"),
        ("Grid", {"image": np.zeros((3, 3, 3))}, "must be a dict of direction, image, not"),
        ("Grid", 7, "must be a dict of direction, image, not 7"),
        ("Grid", {"direction": 1, "image": np.zeros(4)}, r"the observation\['image'\] has the shape \(4,\)"),
        ("Grid", {"direction": 1, "image": np.zeros((2, 3, 3, 3))}, "not no batch in direction, 2 in image"),
        ("Grid", {"direction": [1, 9], "image": np.zeros((2, 3, 3, 3))}, r"observation 1 of the batch\['direction'\]"),
        ("Spoken", {"said": "!!", "at": np.zeros(2)}, r"the observation\['said'\] is '!!', but"),
    ],
)
def test_what_is_not_of_the_space_is_reported_in_one_sentence(name, observation, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        untrained(f"tests.test_policy:{name}").predict(observation)
    assert "\n" not in str(caught.value)


def test_a_file_of_format_1_is_read(policy, tmp_path):
    policy.save(tmp_path / "policy.pt")
    fields = torch.load(tmp_path / "policy.pt", weights_only=True)
    del fields["observation_space"]
    torch.save({**fields, "swarmsim policy": 1, "observation_shape": [2, 2]}, tmp_path / "old.pt")
    old, observations = load_policy(tmp_path / "old.pt"), np.random.default_rng(0).normal(size=(5, 2, 2))
    assert old.observation_space.shape == (2, 2)
    expected = policy.predict(observations.reshape(5, 4), deterministic=True)[0]
    assert np.array_equal(old.predict(observations, deterministic=True)[0], expected)


def by_torch(policy: SwarmPolicy) -> SwarmPolicy:
    file = io.BytesIO()
    torch.save(policy, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "pickle": lambda policy: pickle.loads(pickle.dumps(policy)),
    "torch": by_torch,
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "Pendulum-v1", "tests.environments:Composed", "tests.test_policy:Grid"]
)
def test_a_copy_acts_and_draws_as_the_policy_itself(copied, env_id):
    policy, again = untrained(env_id), copied(untrained(env_id))
    env = raw_env(env_id)
    observations = batch_of(env.observation_space, [env.reset(seed=seed)[0] for seed in range(20)])
    for _ in range(2):
        assert np.array_equal(again.predict(observations)[0], policy.predict(observations)[0])
    assert (again.names, again.architecture) == (policy.names, policy.architecture)
    assert again.member(1).names == ["model1"]


@pytest.mark.parametrize("copied", [COPIES[name] for name in ("pickle", "torch", "deepcopy")])
def test_a_copy_has_weights_and_draws_of_its_own_and_keeps_the_normaliser(copied):
    normalizer = Normalizer(3)
    normalizer.count(np.random.default_rng(0).normal(5, 2, (9, 3)).astype(np.float32))
    plain = untrained("Pendulum-v1")
    genomes = dict(zip(plain.names, plain.weights.detach().numpy(), strict=True))
    policy = SwarmPolicy(genomes, plain.architecture, plain.action_space, aggregation="rank", normalizer=normalizer)
    policy.predict(np.ones(3))
    again = copied(policy)
    assert again.aggregation == "rank"
    assert np.array_equal(again.as_seen(np.ones(3)), policy.as_seen(np.ones(3)))
    assert np.array_equal(again.predict(np.ones(3))[0], policy.predict(np.ones(3))[0])
    again.weights.data.zero_()
    assert policy.weights.any()


@pytest.fixture
def ruled(tmp_path) -> SwarmPolicy:
    """With a rule from a folder that is on no module path."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "rules_of_copies.py").write_text(RULE)
    policy = untrained("CartPole-v1")
    policy.save(tmp_path / "policy.pt")
    fields = torch.load(tmp_path / "policy.pt", weights_only=True)
    torch.save({**fields, "aggregation": "rules_of_copies:boldest"}, tmp_path / "policy.pt")
    return load_policy(tmp_path / "policy.pt", modules=tmp_path / "rules")


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_keeps_the_users_rule_from_its_folder(ruled, copied):
    observations = np.random.default_rng(0).normal(size=(50, 4))
    again = copied(ruled)
    assert again.aggregation == "rules_of_copies:boldest"
    expected = ruled.predict(observations, deterministic=True)[0]
    assert np.array_equal(again.predict(observations, deterministic=True)[0], expected)
    assert "rules_of_copies" not in sys.modules


@pytest.mark.long
def test_a_pickle_acts_the_same_in_another_process_and_tells_of_a_missing_rule(ruled, tmp_path):
    pickled = pickle.dumps(ruled)
    observations = np.random.default_rng(0).normal(size=(20, 4))
    with get_context("spawn").Pool(1) as pool:
        actions = pool.apply(actions_of, (pickled, observations))
        assert np.array_equal(actions, ruled.predict(observations, deterministic=True)[0])
    (tmp_path / "rules" / "rules_of_copies.py").unlink()
    with pytest.raises(SettingsError, match="aggregation 'rules_of_copies:boldest': there is no module"):
        pickle.loads(pickled)
    assert np.array_equal(copy.deepcopy(ruled).predict(observations, deterministic=True)[0], actions)


def test_a_rule_without_a_name_is_copied_but_no_pickle_takes_another_for_it(tmp_path):
    settings = {"rounds": 1, "population": 2, "episodes": 1, "link": "inprocess", "progress": False}
    swarmsim.run(**settings, out=str(tmp_path / "run"), aggregation=lambda votes: votes.max(axis=0))
    policy = load_policy(tmp_path / "run")
    observations = np.random.default_rng(0).normal(size=(50, 4))
    assert np.array_equal(copy.deepcopy(policy).predict(observations)[0], policy.predict(observations)[0])
    with pytest.raises(
        SettingsError, match="<lambda>' cannot be pickled: it must be a function at the top of a module"
    ):
        pickle.loads(pickle.dumps(policy))


def actions_of(pickled: bytes, observations: np.ndarray) -> np.ndarray:
    return pickle.loads(pickled).predict(observations, deterministic=True)[0]


def test_an_observation_of_another_shape_is_reported(policy):
    for shape in ((3,), (2, 3), (1, 2, 4)):
        with pytest.raises(
            SettingsError, match=r"an observation has the shape \(4,\), or \(n, …\) in a batch of n, not"
        ):
            policy.predict(np.zeros(shape))


def test_stable_baselines3_evaluates_it_to_the_same_mean(a_run, policy):
    env = DummyVecEnv([lambda: Monitor(gymnasium.make("CartPole-v1"))])
    env.seed(episode_seed(1, "evaluate", 8, 0))
    mean, _ = evaluate_policy(policy, env, n_eval_episodes=1, deterministic=True)
    assert mean == a_run[-1].eval_score_evolved


def test_gradients_reach_the_actors_of_all_members_and_an_optimizer_moves_what_predict_does(policy):
    policy = policy.member(0)
    observations = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        labels = torch.ones(64, dtype=torch.long)
        loss = torch.nn.functional.cross_entropy(policy(observations)[0], labels)
        loss.backward()
        optimizer.step()
    end = policy.architecture.actor[-1].end
    assert policy.weights.grad[:, :end].count_nonzero() > end / 2
    assert not policy.weights.grad[:, end:].any()
    assert policy.predict(observations.numpy(), deterministic=True)[0].all()


def test_a_rule_of_ones_own_is_found_where_one_says(tmp_path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "rules_of_a_test.py").write_text(RULE)
    settings = {"rounds": 1, "population": 2, "episodes": 1, "link": "inprocess", "progress": False}
    rule = "rules_of_a_test:boldest"
    swarmsim.run(**settings, out=str(tmp_path / "run"), aggregation=rule, modules=str(rules))
    policy = load_policy(tmp_path / "run")
    policy.save(tmp_path / "policy.pt")
    sentence = r"policy.pt: aggregation 'rules_of_a_test:boldest': there is no module .*modules=FOLDER\) says where"
    with pytest.raises(SettingsError, match=sentence):
        load_policy(tmp_path / "policy.pt")
    again = load_policy(tmp_path / "policy.pt", modules=rules)
    observations = np.random.default_rng(0).normal(size=(50, 4))
    assert again.aggregation == rule
    assert np.array_equal(again.predict(observations)[0], policy.predict(observations)[0])
    assert again.member(0).aggregation == "sum"


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("made_by_a_file",)


def test_no_code_in_a_file_is_run(in_tmp_path):
    (in_tmp_path / "pickle.pt").write_bytes(pickle.dumps(Malicious()))
    torch.save({"swarmsim policy": 1, "names": Malicious()}, "torch.pt")
    for name in ("pickle.pt", "torch.pt"):
        with pytest.raises(SettingsError, match=f"{name} is damaged, or no policy that swarmsim wrote"):
            load_policy(name)
    assert not (in_tmp_path / "made_by_a_file").exists()


def test_a_damaged_file_is_reported_wherever_it_is_damaged(policy, tmp_path):
    policy.save(tmp_path / "policy.pt")
    sound = (tmp_path / "policy.pt").read_bytes()
    start = sound.index(policy.weights.detach().numpy().tobytes())
    places = start + np.random.default_rng(0).integers(policy.weights.numel() * 4, size=20)
    for content in [sound[:0], sound[:1000], sound[:-30], *(_changed(sound, place) for place in places)]:
        (tmp_path / "damaged.pt").write_bytes(content)
        with pytest.raises(SettingsError, match=r"damaged.pt is damaged, or no policy that swarmsim wrote"):
            load_policy(tmp_path / "damaged.pt")


def _changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"swarmsim policy": 3}, "has format 3: this version of swarmsim reads the formats 1 to 2"),
        ({"hidden": [5]}, "is damaged: model0 has 2531 weights, but its layers need "),
        ({"names": ["model0"]}, "is damaged: zip"),
        ({"action_space": {"space": "Moods"}}, "is damaged: 'Moods'"),
        ({"aggregation": "summ"}, "unknown aggregation 'summ'; .* did you mean 'sum'"),
    ],
)
def test_a_file_with_other_content_is_reported(policy, tmp_path, change, sentence):
    policy.save(tmp_path / "policy.pt")
    torch.save({**torch.load(tmp_path / "policy.pt", weights_only=True), **change}, tmp_path / "other.pt")
    with pytest.raises(SettingsError, match=f"other.pt.* ?{sentence}") as caught:
        load_policy(tmp_path / "other.pt")
    assert "\n" not in str(caught.value)


def test_a_path_that_is_neither_run_nor_file_is_reported(tmp_path):
    for name, sentence in [
        ("nothing.pt", "nothing.pt cannot be read: No such file or directory"),
        ("nothing.npz", "nothing.npz cannot be read: No such file or directory"),
        (".", "is no run directory: one has config.yaml, metrics.jsonl and checkpoint/"),
    ]:
        with pytest.raises(SettingsError, match=sentence):
            load_policy(tmp_path / name)


def test_a_policy_is_not_written_where_there_is_no_folder(policy, tmp_path):
    with pytest.raises(SettingsError, match=r"no/policy.pt cannot be written: No such file or directory"):
        policy.save(tmp_path / "no" / "policy.pt")


def test_the_newest_sound_checkpoint_counts_and_a_damaged_one_is_reported(copied_run, a_run):
    newest = copied_run / "checkpoint" / "round-0002.npz"
    newest.write_bytes(_changed(newest.read_bytes(), 5000))
    with pytest.warns(UserWarning, match="round-0002.npz is damaged: .*; the one before it is used"):
        policy = load_policy(copied_run)
    first = load_policy(a_run.directory / "checkpoint" / "round-0001.npz")
    assert torch.equal(policy.weights, first.weights)


def test_the_package_offers_it():
    assert swarmsim.load_policy is load_policy
    assert swarmsim.SwarmPolicy is SwarmPolicy
    assert {"load_policy", "SwarmPolicy"} <= set(swarmsim.__all__)
