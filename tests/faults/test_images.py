"""Models of pictures are large: they go in parts, are restored at once, and are refused if they are too large."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

import swarmsim
from swarmsim.components import parts, size
from swarmsim.components.main_job import one_role
from swarmsim.components.model import Models
from swarmsim.components.persistence import StateStore
from swarmsim.components.size import check_size
from swarmsim.config import make_config
from swarmsim.envs.make import Shape
from swarmsim.errors import SettingsError
from swarmsim.learning import networks
from swarmsim.learning.ppo import PPO
from swarmsim.messaging import codec
from swarmsim.results.checkpoint import read_checkpoint
from swarmsim.results.history import TIMES
from swarmsim.views.report import TRAIN, Report
from tests.conftest import LITTLE, TIMED, long_after

SMALL = {"population": 12, "episodes": 3, "seed": 5, "rounds": 2, "ppo": LITTLE, "progress": False}
SCREEN = Shape(n_inputs=100_800, n_actions=6)  # 210 × 160 × 3
MAX_BYTES = 200_000  # of a message; the genomes of 12 models with their moments have more


def rounds(history) -> list[dict]:
    return [{key: value for key, value in record.encode().items() if key not in TIMES} for record in history]


@pytest.fixture(scope="module")
def undivided() -> list[dict]:
    return rounds(swarmsim.run(**SMALL, out=None, link="inprocess"))


@pytest.fixture
def in_parts(monkeypatch) -> None:
    """A model's genome goes in a message of its own, and a state's arrays go apart from it."""
    monkeypatch.setattr(parts, "PART_BYTES", 40_000, raising=False)
    monkeypatch.setattr(parts, "LARGE_BYTES", 1_000, raising=False)
    monkeypatch.setattr(codec, "MAX_MESSAGE_BYTES", MAX_BYTES)


@pytest.mark.parametrize(
    ("link", "has_directory"),
    long_after(1, [("inprocess", False), ("queues", True), ("queues", False), ("sockets", False)]),
)
def test_what_does_not_fit_into_one_message_goes_in_several(
    in_tmp_path, monkeypatch, undivided, in_parts, link, has_directory
):
    if not has_directory:  # as for programs on other hosts
        monkeypatch.setattr(parts, "private_directory", lambda address: None)
    swarmsim.run(**{**SMALL, "rounds": 1}, out="out", link=link, workers=2)
    history = swarmsim.run(resume="out", rounds=2)
    assert rounds(history) == undivided
    assert history.failures == []


def test_a_part_that_a_dead_process_has_left_is_dropped(queues_address, monkeypatch, in_parts):
    monkeypatch.setattr(parts, "private_directory", lambda address: None)
    state = {"x": np.arange(30_000, dtype=np.float32), "list": [1, {"y": np.ones((2, 3))}]}
    sent: list[dict] = []
    with swarmsim.Client("control", *queues_address) as client:
        monkeypatch.setattr(client, "send", sent.append)
        request = {"SENT_BY": "control", "ID": "1"}
        rest = parts.lift_large(client, request, state)
        reader = parts.StateReader(client)
        received = [*sent[:2], *sent, {"STATE": json.loads(json.dumps(rest, default=np.ndarray.tolist))}]
        *nothing, read = [reader.read({**message, "SENT_BY": "models"}) for message in received]
    assert [message["STATE_PART"] for message in received[:-1]] == [0, 1, 0, 1, 2]
    assert set(nothing) == {None}
    assert read["x"].dtype == np.float32
    assert np.array_equal(read["x"], state["x"])
    assert np.array_equal(read["list"][1]["y"], np.ones((2, 3)))


@pytest.mark.long
def test_a_resumed_run_draws_no_weights(in_tmp_path, monkeypatch, undivided):
    swarmsim.run(**{**SMALL, "rounds": 1}, out="out")

    def draw(*_):
        raise AssertionError("these weights are not needed")

    monkeypatch.setattr(networks, "_orthogonal", draw)
    assert rounds(swarmsim.run(resume="out", rounds=2)) == undivided


def test_a_process_that_replaces_another_draws_no_weights_and_the_same_minibatches(tmp_path, monkeypatch):
    config = make_config({"population": 2}, "test")
    role = one_role(config, Shape(4, 2), "model", range(2))
    first: Models = role.component(None, StateStore(tmp_path / "models"))
    first.learner.weights[0] += 1
    monkeypatch.setattr(networks, "_orthogonal", None)
    second: Models = role.component(None, StateStore(tmp_path / "models"))
    assert np.array_equal(second.learner.weights, first.learner.weights)
    assert second.state()["generators"] == first.state()["generators"]


class StoppingSoon(Report):
    """Stops the run in its training."""

    phase = ""

    def phase_began(self, round_number, phase, n_episodes):
        self.phase, self.began = phase, time.monotonic()

    def wants_stop(self):
        return self.phase == TRAIN and time.monotonic() - self.began > 0.5


@TIMED
def test_an_interrupt_waits_for_no_update_and_draws_no_weights(in_tmp_path, monkeypatch):
    orthogonal, drawn = networks._orthogonal, []

    def draw(*shape):
        drawn.append(shape)
        return orthogonal(*shape)

    monkeypatch.setattr(networks, "_orthogonal", draw)
    monkeypatch.setattr(PPO, "_compute_gradient", lambda *_, **__: time.sleep(100))
    began = time.monotonic()
    history = swarmsim.run(**{**SMALL, "episodes": 100}, out="out", report=StoppingSoon())
    assert time.monotonic() - began < 30
    assert drawn == []  # in this process, which is the launcher's
    (path,) = Path("out/checkpoint").iterdir()
    states = read_checkpoint(path)["components"].values()
    assert sum(len(state["weights"]) for state in states if "weights" in state) == SMALL["population"]
    assert len(history) == 0


@pytest.mark.long
def test_models_in_a_long_update_are_not_silent(in_tmp_path, monkeypatch):
    def compute(learner, batch, block, *_, **__):
        block.gradient[:] = 0
        time.sleep(0.2)

    monkeypatch.setattr(PPO, "_compute_gradient", compute)
    settings = {
        **SMALL,
        "ppo": {**LITTLE, "n_batches": 15},
        "rounds": 1,
        "episodes": 1,
        "timeout": 0.8,
        "population": 2,
    }
    history = swarmsim.run(**settings, out=None, max_restarts=0)
    assert len(history) == 1
    assert history.failures == []


# --- what does not fit


def config_of(**settings):
    values = {"population": 20, "workers": 1, "envs": 1, "out": None, **settings}
    return make_config(values, "test").with_learner(continuous=False)


def test_what_fits_is_let_start(monkeypatch):
    monkeypatch.setattr(size, "_available_memory", lambda: 30 << 30)
    assert check_size(config_of(), SCREEN) is None
    assert check_size(config_of(population=1000), Shape(4, 2)) is None


def test_too_little_memory_is_told_before_the_start_with_what_helps(monkeypatch):
    monkeypatch.setattr(size, "_available_memory", lambda: 4_000_000_000)
    with pytest.raises(SettingsError) as caught:
        check_size(config_of(), SCREEN)
    sentence = str(caught.value)
    for part in ("20 model(s) with 100,800 inputs", "7.7 GB of memory", "4.0 GB", "population", "GrayscaleObservation"):
        assert part in sentence


def test_replay_buffers_that_may_not_fit_are_a_warning(monkeypatch):
    monkeypatch.setattr(size, "_available_memory", lambda: 9_000_000_000)
    warning = check_size(config_of(), SCREEN)
    assert warning is not None
    assert "replay_size" in warning
    assert "9.9 GB more" in warning


def test_the_replay_buffer_of_soft_actor_critic_holds_two_observations_of_each_transition(monkeypatch):
    monkeypatch.setattr(size, "_available_memory", lambda: 5_000_000_000)
    warning = check_size(config_of(learner="sac"), Shape(10_000, 2, continuous=True))
    assert warning is not None
    assert "8.0 GB more" in warning


def test_a_model_too_large_for_a_message_of_its_link_is_refused(monkeypatch):
    settings = {"link": "sockets", "ppo": {"hidden": [256]}, "population": 1}
    with pytest.raises(SettingsError, match=r"one model needs a message of \d+ MB, and link sockets takes 268 MB"):
        check_size(config_of(**settings), SCREEN)


def test_too_little_space_for_checkpoints_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(size, "_available_memory", lambda: None)
    monkeypatch.setattr(size.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 4_000_000_000}))
    with pytest.raises(SettingsError, match=r"7.7 GB in .* for 5 checkpoint\(s\), where 4.0 GB is available"):
        check_size(config_of(out=str(tmp_path / "deep" / "out")), SCREEN)
    assert check_size(config_of(out=str(tmp_path)), SCREEN, resume=True) is None
