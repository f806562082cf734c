"""Whole runs of swarms whose critics rate actions: the same on every link, packing and restart, and with who dies."""

import json
import signal

import gymnasium
import numpy as np
import pytest
import torch

import swarmsim
from swarmsim import load_policy
from swarmsim.cli import main
from swarmsim.components import environment
from swarmsim.components.environment import episode_seed
from swarmsim.errors import SettingsError
from swarmsim.results.history import TIMES
from swarmsim.views.report import EVALUATE, TRAIN
from tests.components.test_main_job import heard, is_status, observer, running
from tests.conftest import long_after
from tests.experiment.test_resume import Interrupting
from tests.launcher.test_supervisor import Striking
from tests.test_policy import score

SAC = {"hidden": (8, 8), "learning_starts": 20, "batch_size": 8, "train_freq": 8}
SMALL = {
    "env": "Pendulum-v1", "learner": "sac", "sac": SAC, "max_episode_steps": 30, "population": 6, "rounds": 2,
    "episodes": 3, "eval_episodes": 2, "seed": 1,
}  # fmt: skip
JOB = {key: SMALL[key] for key in ("env", "learner", "sac", "max_episode_steps")}


def metrics(**settings) -> list[str]:
    return [
        json.dumps({key: value for key, value in record.encode().items() if key not in TIMES})
        for record in swarmsim.run(**{**SMALL, "out": None, **settings})
    ]


@pytest.fixture(scope="module")
def once() -> list[str]:
    return metrics(workers=1, link="inprocess")


@pytest.mark.parametrize(
    "settings",
    long_after(
        2,
        [
            {"workers": 3},
            {"link": "sockets", "workers": 2},
            {"workers": 1},
            {"link": "inprocess", "workers": 6},
            {"workers": 2, "start_method": "spawn"},
        ],
    ),
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_one_seed_gives_the_same_metrics_on_every_link_and_for_every_packing(once, settings):
    assert metrics(**settings) == once


def test_environments_side_by_side_are_the_same_twice_too():
    assert metrics(envs=2, workers=3) == metrics(envs=2, link="inprocess")


@pytest.mark.long
def test_neither_how_often_nor_how_is_evaluated_changes_the_training():
    ways = {"eval_episodes": 1}, {"eval_episodes": 3}, {"eval_deterministic": False}
    returns = [
        [r.train_returns for r in swarmsim.run(**{**SMALL, "out": None, "link": "inprocess", **way})] for way in ways
    ]
    assert returns[0] == returns[1] == returns[2]


def test_every_model_learns_and_evolution_takes_whole_genomes():
    history = swarmsim.run(
        **{**SMALL, "out": None, "link": "inprocess", "evolution": {"kind": "genetic", "elite_fraction": 0.5}}
    )
    assert history[-1].evolution["mutations"] == 3
    assert sum(history[-1].contribution.values()) == pytest.approx(1.0)
    assert history[-1].diversity > 0


@pytest.mark.parametrize(("first", "then"), long_after(1, [("queues", "inprocess"), ("sockets", "queues")]))
def test_one_round_and_another_one_are_two_rounds(in_tmp_path, once, first, then):
    swarmsim.run(**{**SMALL, "rounds": 1, "out": "out", "link": first, "workers": 2})
    swarmsim.run(resume="out", rounds=2, link=then)
    lines = (in_tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    rounds = [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]
    assert rounds == [json.loads(line) for line in once]


@pytest.mark.parametrize("phase", long_after(1, [TRAIN, EVALUATE]))
def test_an_interrupt_within_a_round_loses_nothing(in_tmp_path, once, every_step_is_told, phase):
    with pytest.raises(KeyboardInterrupt):
        swarmsim.run(**{**SMALL, "out": "out", "workers": 2}, report=Interrupting(phase, 40))
    swarmsim.run(resume="out")
    lines = (in_tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    rounds = [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]
    assert rounds == [json.loads(line) for line in once]


# --- messages, and who dies


def test_an_evaluation_takes_a_second_round_of_messages_and_training_none():
    with running(**JOB, link="queues", population=2, workers=2) as job, observer(job) as client:
        for room in ("proposal", "rating"):
            client.join_room(room)
        for deterministic in (False, True):
            n_steps = job.control.play(1, deterministic=deterministic).n_steps
            rooms = [message["TO_ROOM"] for message in heard(client, is_status("ENV_DONE"))]
            rated = ["proposal", "rating", "rating"] if deterministic else []
            step = ["logits", "logits", *rated, "action", "observation"]
            assert rooms == ["control", "observation", *step * n_steps, "control"]


@pytest.mark.parametrize(
    ("name", "workers"), long_after(1, [("models0-1", 2), ("aggregation", 2), ("models0-3", 1), ("environment", 2)])
)
def test_an_evaluation_goes_on_to_its_end_whoever_dies_in_it(monkeypatch, name, workers):
    monkeypatch.setattr(environment, "PROGRESS_SECONDS", -1.0)
    results = []
    for strikes in (False, True):
        with running(**JOB, link="queues", population=4, workers=workers) as job:
            job.control.play(2, deterministic=False)
            striking = Striking(job, name, signal.SIGKILL, step=15)
            results.append(job.control.play(3, deterministic=True, on_progress=striking if strikes else None))
            assert len(striking.failures) == strikes
            assert len(job.control.play(2, deterministic=False).returns) == 2
    assert [result.lengths for result in results] == [[30] * 3] * 2
    if name != "models0-1":  # a step or two was decided without it
        assert results[0].returns == results[1].returns


# --- refusals, and the trained swarm outside of a run


def test_discrete_actions_are_refused_before_anything_starts():
    sentence = "learner sac needs continuous actions .a Box., and those of CartPole-v1 are discrete: use ppo or a2c"
    with pytest.raises(SettingsError, match=sentence):
        swarmsim.run(learner="sac", out=None)


def test_it_plays_its_last_evaluation_again_to_the_last_bit_also_from_a_file(tmp_path):
    out = str(tmp_path / "run")
    settings = {**SMALL, "out": out, "rounds": 1, "envs": 1, "normalize_observations": True}
    history = swarmsim.run(**settings, link="inprocess", progress=False)
    load_policy(out).save(tmp_path / "policy.pt")
    env = gymnasium.make("Pendulum-v1", max_episode_steps=30)
    for policy in (load_policy(out), load_policy(tmp_path / "policy.pt")):
        scores = [score(policy, env, episode_seed(1, "evaluate", 3, i)) for i in range(2)]
        assert sum(scores) / 2 == history[-1].eval_score_evolved
    alone = policy.member("model2")
    observations = np.random.default_rng(0).uniform(-1, 1, (9, 3)).astype(np.float32)
    shown = torch.from_numpy(policy.as_seen(observations))
    with torch.no_grad():
        means = 2 * torch.tanh(policy(shown)[2, :, :1])  # in the environment's units
        assert policy.values(shown).shape == (6, 9)
    np.testing.assert_allclose(alone.predict(observations, deterministic=True)[0], means, rtol=1e-4, atol=1e-5)
    drawn = [policy.predict(observations)[0] for _ in range(2)]
    assert (drawn[0] != drawn[1]).any()
    assert np.abs(drawn).max() <= 2


def test_its_directory_can_be_inspected_exported_and_played(in_tmp_path, capsys):
    swarmsim.run(**SMALL | {"out": "run", "rounds": 1}, link="inprocess", progress=False)
    for command in (["inspect", "run"], ["export", "run"], ["play", "run", "--gif", "pendulum.gif"]):
        assert main(command) == 0
    printed = capsys.readouterr().out
    assert "critic 4 → 8 → 8 → 1, relu between" in printed
    assert (in_tmp_path / "run" / "policy.pt").exists()
