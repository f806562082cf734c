"""What a user can give as an environment: arguments, wrappers, a class, a function that makes one."""

import functools
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TransformReward

import swarmsim
from swarmsim.errors import SettingsError
from swarmsim.policy import load_policy
from tests.conftest import environ
from tests.faults.projects import SETTINGS, TASK, reward_of, write, write_task


class Task(gymnasium.Env):
    """One step of the reward `scale`."""

    observation_space, action_space = spaces.Box(0.0, 1.0, (1,), np.float32), spaces.Discrete(2)

    def __init__(self, scale=1.0, render_mode=None):
        self.scale = scale

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), self.scale, True, False, {}


def doubled(env):
    return TransformReward(env, lambda reward: 2 * reward)


class Raised(TransformReward):
    def __init__(self, env):
        super().__init__(env, lambda reward: reward + 1)


SCALED = functools.partial(Task, scale=4.0)


@pytest.mark.parametrize(
    ("settings", "reward"),
    [
        ({"env": Task}, 1),
        ({"env": Task, "env_kwargs": {"scale": 3.0}}, 3),
        ({"env": lambda: Task(2.0)}, 2),
        ({"env": SCALED}, 4),
        ({"env": lambda **kwargs: doubled(Task(**kwargs)), "env_kwargs": {"scale": 3.0}}, 6),
        ({"env": Task, "wrappers": [doubled, Raised]}, 3),
        ({"env": Task, "wrappers": [Raised, doubled]}, 4),
        ({"env": Task, "wrappers": [lambda env: Raised(Raised(env)), lambda env: doubled(doubled(env))]}, 12),
        ({"env": f"{__name__}:Task", "wrappers": (f"{__name__}:doubled", Raised)}, 3),
    ],
)
def test_what_is_given_as_an_environment_is_played(in_tmp_path, settings, reward):
    assert reward_of(**settings) == reward


def test_processes_play_what_is_given(in_tmp_path):
    assert reward_of(env=lambda: Task(2.0), wrappers=[doubled], link="queues") == 4


def test_a_settings_file_has_arguments_and_wrappers_in_order(in_tmp_path):
    write_task(in_tmp_path / "my_task.py")
    write(in_tmp_path / "my_wrappers.py", "from gymnasium.wrappers import TransformReward\n"
          "def doubled(env):\n    return TransformReward(env, lambda r: 2 * r)\n"
          "def raised(env):\n    return TransformReward(env, lambda r: r + 1)\n")  # fmt: skip
    write(in_tmp_path / "my.yaml", "env: my_task:Task\nenv_kwargs:\n  scale: 3\n"
          "wrappers: [my_wrappers:raised, my_wrappers:doubled]\n")  # fmt: skip
    out = str(in_tmp_path / "run")
    assert swarmsim.run("my.yaml", **SETTINGS, out=out)[-1].train_returns == [8]
    assert swarmsim.run(resume=out, rounds=2)[-1].train_returns == [8]
    assert load_policy(out).predict(np.zeros(1))


def test_a_run_of_a_given_environment_is_resumed_by_giving_it_again(in_tmp_path):
    env = lambda: Task(2.0)
    swarmsim.run(**SETTINGS, env=env, out="run")
    assert swarmsim.run(resume="run", rounds=2, env=env)[-1].train_returns == [2]


@pytest.mark.long
def test_a_program_without_what_was_given_is_told_so_and_a_notebook_names_its_own_classes(in_tmp_path):
    program = (
        TASK.replace("TOP", "import swarmsim, functools").replace("STEP", "pass").replace("REWARD", "1")
        + f"""
settings = {SETTINGS}
print(swarmsim.run(**settings, env="__main__:Task", out="by-name")[-1].train_returns)
print(swarmsim.run(resume="by-name", rounds=2)[-1].train_returns)
swarmsim.run(**settings, env=lambda: Task(), out="given")
swarmsim.run(**settings, wrappers=[functools.partial(gymnasium.wrappers.TimeLimit, max_episode_steps=9)], out="wrapped")
for env in ("__main__:Task", Task, lambda: Task()):
    try:
        swarmsim.run(**{{**settings, "link": "queues"}}, env=env, start_method="spawn", out=None)
    except swarmsim.SettingsError as error:
        print(error)
"""
    )
    command = [sys.executable, "-"]  # as in a notebook, its classes are in no file
    done = subprocess.run(command, input=program, text=True, capture_output=True, env=environ(), check=True)
    first, again, *refused = done.stdout.splitlines()
    assert (first, again) == ("[1.0]", "[1.0]")
    assert len(refused) == 3
    assert all(line.startswith("start_method spawn: another process cannot import '__main__:") for line in refused)
    for run, key in (("by-name", "env"), ("given", "env"), ("wrapped", "wrappers")):
        with pytest.raises(SettingsError, match=rf"began the run: give it again, as in run\(resume=…, {key}=…\)"):
            swarmsim.run(resume=run, rounds=3)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"env": Task()}, r"env must be text, a class or a function, not an object of the class Task"),
        ({"env": dict}, r"must be a gymnasium.Env class or a function, not the class dict"),
        ({"env": lambda: 3}, r"must return a gymnasium.Env, not int"),
        ({"env": Task, "env_kwargs": {"scal": 1}}, r"Task' cannot be made: TypeError: .*'scal'"),
        ({"env": Task, "env_kwargs": {"scale": Task}}, r"env_kwargs holds an object of the class type, which no sett"),
        ({"env": Task, "env_kwargs": [1]}, r"env_kwargs must be a mapping of names to values, not list"),
        ({"env": Task, "wrappers": [lambda env: None]}, r"wrapper '.*' must return a gymnasium.Env, not NoneType"),
        ({"env": Task, "wrappers": [lambda: None]}, r"wrapper '.*' failed: TypeError: "),
        ({"env": Task, "wrappers": doubled}, r"wrappers must be a list, each item text, not function"),
        ({"env": Task, "wrappers": ["nowhere:doubled"]}, r"wrapper 'nowhere:doubled': there is no module 'nowhere'"),
        ({"env": Task, "wrappers": ["doubled"]}, r"wrapper 'doubled' must be module:name"),
    ],
)
def test_what_cannot_be_an_environment_is_told_in_one_sentence(in_tmp_path, settings, sentence):
    with pytest.raises(SettingsError, match=sentence) as caught:
        reward_of(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(2),
        spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (2, 2))]),
        spaces.Dict({"place": spaces.Discrete(3), "mission": spaces.Text(5), "speed": spaces.Box(0, 1, ())}),
    ],
)
def test_these_observation_spaces_can_be_learnt_from(in_tmp_path, monkeypatch, space):
    monkeypatch.setattr(Task, "observation_space", space)
    assert reward_of(env=Task) == 1
