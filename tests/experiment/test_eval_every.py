"""Evaluations within training: where they are, that they change nothing, and that nothing stops them for good."""

import os
import signal
from itertools import count, pairwise
from pathlib import Path

import pytest

import swarmsim
from swarmsim.components.control import Control, Interrupted
from swarmsim.components.protocol.control import JobDone
from swarmsim.envs.episodes import Episodes
from swarmsim.results.checkpoint import read_checkpoint, read_weights
from swarmsim.results.history import TIMES
from swarmsim.views.report import Report
from tests.conftest import long_after
from tests.experiment.test_resume import SMALL, metrics, without_times

EVERY = {**SMALL, "envs": 1, "rounds": 2, "eval_every": 20, "max_episode_steps": 40}


def rounds(**settings) -> list[dict]:
    history = swarmsim.run(**{**EVERY, "out": None, "link": "inprocess", **settings})
    return without_times(record.encode() for record in history)


def without_evaluations(found: list[dict]) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "evaluations"} for record in found]


@pytest.fixture(scope="module")
def whole() -> list[dict]:
    return rounds()


PACKED = [
    ({"link": "queues", "workers": 2}, {}),
    ({"link": "queues", "envs": 4}, {"envs": 4}),
    ({"link": "sockets", "workers": 2, "envs": 4}, {"envs": 4}),
    ({"link": "queues", "workers": 1}, {}),
]


@pytest.mark.parametrize(("settings", "others"), long_after(1, PACKED))
def test_evaluations_within_training_change_nothing_and_are_the_same_on_every_link(in_tmp_path, settings, others):
    found = rounds(**settings, out="with")
    assert found == rounds(**others)
    assert without_evaluations(found) == without_evaluations(rounds(**others, eval_every=None, out="without"))
    ours, theirs = (read_weights(Path(out, "checkpoint/round-0002.npz")) for out in ("with", "without"))
    assert [genome.tobytes() for genome in ours.values()] == [genome.tobytes() for genome in theirs.values()]


@pytest.mark.parametrize(
    "settings",
    [
        {"normalize_observations": True, "envs": 3},
        {"preset": "reference"},
        {"eval_env": "shared", "envs": 2},
        {"eval_deterministic": False},
        {"evolution": {"fitness": "return"}},
        {"eval_every": 1, "envs": 3},
    ],
    ids=lambda settings: "-".join(map(str, settings)),
)
def test_they_change_nothing_with_other_settings_either(settings):
    found = rounds(**settings)
    assert all(record["evaluations"] for record in found)
    assert without_evaluations(found) == without_evaluations(rounds(**settings | {"eval_every": None}))


def test_they_are_played_as_the_runs_steps_reach_each_multiple(whole):
    ends = [0, *(record["env_steps"] for record in whole)]
    multiples = [[steps for steps in range(20, end, 20) if begin < steps < end] for begin, end in pairwise(ends)]
    assert [[steps for steps, _ in record["evaluations"]] for record in whole] == multiples
    assert all(multiples)


def test_several_environments_reach_a_multiple_within_one_step_of_all():
    (first, second) = rounds(envs=4)
    steps = [at for at, _ in first["evaluations"] + second["evaluations"]]
    assert [at // 20 for at in steps] == sorted({at // 20 for at in steps})
    assert all(at % 20 < 4 for at in steps)


def test_each_has_episodes_of_its_own_and_as_many_as_the_others_have():
    class Listening(Report):
        def __init__(self):
            self.results = []

        def evaluated(self, round_number, n_steps, result):
            self.results.append((round_number, n_steps, result))

    report = Listening()
    history = swarmsim.run(**EVERY, out=None, link="inprocess", report=report)
    assert {len(result.returns) for _, _, result in report.results} == {2}
    told = [[number, [steps, result.score]] for number, steps, result in report.results]
    assert told == [[r.round, evaluation] for r in history for evaluation in r.evaluations]


# --- interrupts, deaths and pauses


class Pressing(Report):
    """Does something once, at a step of the evaluation within training that has a number."""

    def __init__(self, monkeypatch, number: int, act=lambda: os.kill(os.getpid(), signal.SIGINT)) -> None:
        self.number, self.act, self.is_paused, self.components = number, act, False, {}
        play = Control.play

        def played(control, n_episodes, *, deterministic, on_progress=None, **more):
            within = deterministic and on_progress is None
            on_progress = self.press if within else on_progress
            result = play(control, n_episodes, deterministic=deterministic, on_progress=on_progress, **more)
            self.number -= within
            return result

        monkeypatch.setattr(Control, "play", played)

    def press(self, returns, n_steps) -> None:
        if self.number == 0 and n_steps >= 5:
            self.number = -1
            self.act()

    def components_changed(self, components):
        self.components = components


INTERRUPTED = [
    {"link": "inprocess", "envs": 3, "normalize_observations": True},
    {"link": "queues", "workers": 2},
    {"link": "inprocess", "eval_env": "shared", "envs": 2},
    {"link": "sockets"},
    {"link": "queues", "envs": 3},
]


@pytest.mark.parametrize("settings", long_after(1, INTERRUPTED), ids=lambda settings: "-".join(map(str, settings)))
def test_an_interrupt_within_such_an_evaluation_loses_nothing(in_tmp_path, monkeypatch, every_step_is_told, settings):
    with pytest.raises(KeyboardInterrupt):
        swarmsim.run(**EVERY | settings, out="out", report=Pressing(monkeypatch, 1))
    state = read_checkpoint(Path("out/checkpoint/round-0001-begun.npz"))
    if settings["link"] == "inprocess":  # between processes the run may be further by then
        environment = state["components"]["environment"]
        assert environment["run"]["asked"]["DETERMINISTIC"]
        assert environment["run"]["asked"]["ROOT_ID"] == state["evaluation"]["ROOT_ID"]
        assert not environment["aside"]["asked"]["DETERMINISTIC"]
        assert environment["aside"]["asked"]["ROOT_ID"] == state["task"]["ROOT_ID"]
        assert len(state["evaluations"]) == 1
    swarmsim.run(resume="out")
    assert metrics("out") == rounds(**settings | {"link": "inprocess"})


class Stopping(Report):
    """Stops a run when control has waited so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def waiting(self):
        self.times -= 1

    def wants_stop(self):
        return self.times <= 0


@pytest.mark.long
@pytest.mark.parametrize("link", ["inprocess", "queues"])
def test_a_run_can_be_stopped_again_and_again_at_any_moment(in_tmp_path, every_step_is_told, whole, link):
    for attempt in count():
        again = {"resume": "out"} if attempt else {**EVERY, "out": "out", "link": link}
        if len(swarmsim.run(**again, report=Stopping(37))) == EVERY["rounds"]:
            break
    assert attempt > 5
    assert metrics("out") == whole


@pytest.mark.long
def test_a_job_whose_end_lay_unread_counts_once(in_tmp_path, monkeypatch, whole):
    answer = Control._answer

    def interrupted(control, *args, **more):
        message = answer(control, *args, **more)
        if JobDone.read(message) and message["ROOT_ID"] not in interrupts:
            interrupts.append(message["ROOT_ID"])
            raise Interrupted
        return message

    interrupts: list[object] = []
    monkeypatch.setattr(Control, "_answer", interrupted)
    history = swarmsim.run(**EVERY, out="out", link="inprocess")
    while len(history) < EVERY["rounds"]:
        history = swarmsim.run(resume="out")
    assert len(interrupts) > 2 * 3  # training and two evaluations a round, and those within training
    assert metrics("out") == whole
    assert whole[-1]["parents"]  # what the members are worth decides


@pytest.mark.long
@pytest.mark.parametrize("name", ["environment", "models0-2", "aggregation"])
def test_a_component_that_dies_in_such_an_evaluation_is_replaced(monkeypatch, every_step_is_told, name):
    report = Pressing(monkeypatch, 1, lambda: os.kill(report.components[name].process_id, signal.SIGKILL))
    history = swarmsim.run(**EVERY | {"workers": 2, "population": 6}, link="queues", out=None, report=report)
    assert [(failure["component"], failure["healed"]) for failure in history.failures] == [(name, True)]
    assert [len(r.train_returns) for r in history] == [SMALL["episodes"]] * 2
    assert len(history[0].evaluations) > 1


@pytest.mark.parametrize("link", long_after(1, ["queues", "inprocess"]))
def test_a_run_can_be_paused_in_such_an_evaluation(monkeypatch, every_step_is_told, whole, link):
    class Pausing(Pressing):
        left = 0

        def wants_pause(self):
            self.left -= 1
            return self.left > 0

    report = Pausing(monkeypatch, 1, lambda: setattr(report, "left", 5))
    assert rounds(link=link, report=report) == whole
    assert report.left < 0


@pytest.mark.long
def test_a_pause_that_falls_on_an_evaluation_does_not_hide_it(monkeypatch, every_step_is_told, whole):
    class Pausing(Report):
        times = 0

        def wants_pause(self):
            self.times += 1
            return self.times % 2 == 1  # between any two messages

    assert rounds(report=Pausing()) == whole


@pytest.mark.long
def test_evaluations_on_shared_environments_replay_the_episodes_of_training(monkeypatch):
    replayed = []
    restore = Episodes.restore

    def counted(self, state):
        replayed.append(restore(self, state))
        return replayed[-1]

    monkeypatch.setattr(Episodes, "restore", counted)
    found = rounds(eval_env="shared")
    assert replayed == [True] * sum(len(record["evaluations"]) for record in found)
    replayed.clear()
    rounds()
    assert replayed == []


def test_the_metrics_hold_them_and_the_summary_when_the_environment_was_solved(in_tmp_path):
    history = swarmsim.run(**EVERY, out="out", link="inprocess")
    told = metrics("out")
    assert [record["evaluations"] for record in told] == [r.evaluations for r in history]
    assert set(told[0]) | set(TIMES) == set(history[0].encode())
    assert "first_solved_steps" in history.summary()
