"""The best checkpoint: the swarm as it was when its evaluation was the best so far."""

from pathlib import Path

import numpy as np
import pytest

import swarmsim
from swarmsim.commands.play import Player, evaluation_seeds
from swarmsim.config import resumed_config
from swarmsim.envs.episodes import Border
from swarmsim.envs.make import EnvSource, make_flat_env
from swarmsim.policy import policy_of
from swarmsim.results.checkpoint import Checkpoints, read_checkpoint, read_weights
from swarmsim.results.snapshot import snapshot
from swarmsim.views.report import EVALUATE, EVALUATE_EVOLVED, TRAIN
from tests.conftest import long_after
from tests.experiment.test_resume import SMALL, Interrupting, metrics

BEST = Path("out/checkpoint/best.npz")
EVERY = {**SMALL, "rounds": 3, "eval_every": 10, "link": "inprocess", "out": "out", "preset": "reference"}


def refuse(damage):
    raise AssertionError(damage)


def replayed(seed: int = SMALL["seed"]) -> float:
    """Return the score of the best checkpoint's policy in the episodes of its evaluation."""
    found = snapshot("out", refuse, best=True)
    config = resumed_config("out", {})
    policy = policy_of(found)
    env = make_flat_env(EnvSource.of(config))
    policy.observation_space = env.observation_space
    player = Player(policy, env, Border(config.env, "evaluation"), deterministic=True, render=lambda: None)
    returns = [player.play(0, each)[0] for each in evaluation_seeds(found, config, seed, config.eval_episodes)]
    env.close()
    return float(np.mean(returns))


@pytest.fixture
def written(monkeypatch) -> list[dict]:
    """The evaluations of all best checkpoints that are written, each of which is played again at once."""
    found: list[dict] = []
    write_best = Checkpoints.write_best

    def checked(self, state):
        write_best(self, state)
        found.append(state["best"])
        assert replayed() == state["best"]["score"]

    monkeypatch.setattr(Checkpoints, "write_best", checked)
    return found


def test_the_best_checkpoint_is_the_swarm_that_was_evaluated(in_tmp_path, written):
    history = swarmsim.run(**EVERY)
    scores = [score for _, _, score in history.evaluations]
    assert read_checkpoint(BEST)["best"] == written[-1]
    assert written[-1]["score"] == max(scores) == history.summary()["best_score"]
    told = {(number, steps, score) for number, steps, score in history.evaluations}
    assert {(best["round"], best["env_steps"], best["score"]) for best in written} <= told
    assert TRAIN in {best["phase"] for best in written}
    assert [best["score"] for best in written] == sorted(best["score"] for best in written)
    assert list(read_weights(BEST)) == [f"model{i}" for i in range(SMALL["population"])]


@pytest.mark.parametrize("phase", long_after(1, [EVALUATE_EVOLVED, EVALUATE]))
def test_an_evaluation_of_a_round_may_be_the_best_one_too(in_tmp_path, written, phase):
    for seed in range(20):
        settings = {**EVERY, "eval_every": None, "rounds": 1, "seed": seed, "out": f"out{seed}"}
        Path("out").unlink(missing_ok=True)
        Path("out").symlink_to(f"out{seed}")
        written.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SMALL, "seed", seed)
            patch.setattr(replayed, "__defaults__", (seed,))
            swarmsim.run(**settings)
        if written[-1]["phase"] == phase:
            return
    raise AssertionError(f"no best evaluation was of phase {phase}")


def test_an_equal_score_replaces_it_only_at_the_end_of_a_round(in_tmp_path, written):
    one_step = {"env": "tests.environments:Corridor-v0", "max_episode_steps": 1}
    history = swarmsim.run(**{**EVERY, **one_step, "episodes": 25})
    assert len({score for _, _, score in history.evaluations}) == 1
    assert [best["phase"] for best in written] == [TRAIN, *[EVALUATE_EVOLVED] * 3]
    assert [best["round"] for best in written] == [1, 1, 2, 3]


@pytest.mark.long
def test_a_resumed_run_goes_on_with_the_best_score_so_far(in_tmp_path, written):
    swarmsim.run(**EVERY)
    whole, rounds = list(written), metrics("out")
    written.clear()
    Path("out").rename("whole")
    swarmsim.run(**EVERY | {"rounds": 1})
    swarmsim.run(resume="out", rounds=3)
    assert written == whole
    assert metrics("out") == rounds


@pytest.mark.long
def test_it_is_neither_resumed_from_nor_removed(in_tmp_path):
    swarmsim.run(**EVERY, checkpoints=1)
    assert sorted(path.name for path in BEST.parent.iterdir()) == ["best.npz", "round-0003.npz"]
    assert Checkpoints(BEST.parent, keep=1).read_newest(refuse)[0].name == "round-0003.npz"


@pytest.mark.long
def test_a_damaged_one_is_told_and_the_next_evaluation_replaces_it(in_tmp_path):
    swarmsim.run(**EVERY | {"rounds": 1})
    BEST.write_bytes(b"PK\x03\x04")
    report = Interrupting("never", 0)
    swarmsim.run(resume="out", rounds=2, report=report)
    assert report.notes == [f"{BEST} is cut short, or no checkpoint: its checksum is missing"]
    assert read_checkpoint(BEST)["best"]["round"] == 2


def test_a_run_without_files_keeps_none(in_tmp_path):
    swarmsim.run(**EVERY | {"rounds": 1, "out": None})
    assert list(in_tmp_path.iterdir()) == []
