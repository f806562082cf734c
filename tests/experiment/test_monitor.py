"""Snapshots of a swarm at work, which change nothing; and reports that pause or stop a run."""

import os
import signal
import time

import pytest

import swarmsim
from swarmsim.components.contribution_tracker import ContributionTracker
from swarmsim.experiment import monitor
from swarmsim.views.report import EVALUATE, EVOLVE, TRAIN, ComponentStatus, Report, Reports
from tests.conftest import LITTLE, TIMED, long_after
from tests.experiment.test_resume import SMALL, metrics, whole, whole_anew, without_times


class Collecting(Report):
    """Wants a snapshot whenever it is asked, and collects all of them."""

    def __init__(self):
        self.snapshots, self.components = [], []

    def wants_snapshot(self):
        return True

    def component_seen(self, snapshot):
        self.snapshots.append(snapshot)

    def components_changed(self, components):
        self.components.append(dict(components))


@pytest.mark.parametrize("link", long_after(2, ["inprocess", "queues", "sockets"]))
def test_every_message_of_a_step_is_counted_once_on_every_link(link):
    sizes = {"rounds": 2, "population": 3, "episodes": 3, "envs": 1}
    history = swarmsim.run(**sizes, workers=3, link=link, out=None, ppo=LITTLE)
    n_runs = 3 * len(history)  # training, and two evaluations
    n_steps = history.env_steps + sum(round(r.eval_score + r.eval_score_evolved) for r in history)
    models = ["model0", "model1", "model2"]
    assert history.messages["observation"]["environment"] == dict.fromkeys(models, n_steps + n_runs)
    assert {name: history.messages["logits"][name] for name in models} == {
        name: {"aggregation": n_steps} for name in models
    }
    assert history.messages["action"] == {"aggregation": {"environment": n_steps}}
    assert history.messages["evolution"]["evolution"]["aggregation"] == 2 * len(history)  # GET and SET


def test_snapshots_change_nothing_and_show_shares_losses_and_states(monkeypatch, every_step_is_told):
    monkeypatch.setattr(ContributionTracker, "BLOCK", 50)
    monkeypatch.setattr(monitor, "SNAPSHOT_SECONDS", 0.01)
    report = Collecting()
    history = swarmsim.run(**SMALL, rounds=2, workers=2, out=None, report=report)
    assert without_times(r.encode() for r in history) == whole_anew(rounds=2)  # in these blocks, which round otherwise
    by_component = {snapshot.component for snapshot in report.snapshots}
    assert by_component == {"aggregation", "environment", "evolution", "models0-1", "models2-4", "control"}
    contributions = [snapshot.contribution or {} for snapshot in report.snapshots]
    assert any(sum(c.values()) == pytest.approx(1.0) for c in contributions if len(c) == 5)
    learnt = [snapshot for snapshot in report.snapshots if snapshot.n_learning]
    assert {snapshot.component for snapshot in learnt} == {"models0-1", "models2-4"}
    assert all(snapshot.learning["entropy"] > 0 and snapshot.learning["gradient_norm"] > 0 for snapshot in learnt)
    assert {status.state for status in report.components[-1].values()} == {"ready"}
    assert len({status.process_id for status in report.components[-1].values()}) == 5


def test_the_end_of_a_component_that_is_not_replaced_is_seen_too():
    class Killing(Collecting):
        def phase_began(self, round_number, phase, n_episodes):
            if phase == EVALUATE:
                os.kill(self.components[-1]["model1"].process_id, signal.SIGKILL)

    report = Killing()
    history = swarmsim.run(**SMALL, rounds=1, workers=5, restart="never", out=None, report=report)
    assert report.components[-1]["model1"] == ComponentStatus("stopped", None, 1)
    assert len(history) == 1


class Pausing(Report):
    """Pauses the first training for a while once it has begun, and stops the run in the middle of that if asked to."""

    SECONDS = 0.3

    def __init__(self, *, stops=False):
        self.steps_while_paused, self.paused_at, self.steps, self.stops, self.phase = set(), None, 0, stops, ""

    def phase_began(self, round_number, phase, n_episodes):
        self.phase = phase

    def episodes_ended(self, returns, n_steps):
        self.steps = n_steps
        if self.paused_at is None and self.phase == TRAIN:
            self.paused_at = time.monotonic()

    def wants_pause(self):
        pauses = self.paused_at is not None and time.monotonic() < self.paused_at + self.SECONDS
        if pauses:
            self.steps_while_paused.add(self.steps)
        return pauses

    def wants_stop(self):
        return self.stops and self.paused_at is not None and time.monotonic() > self.paused_at + self.SECONDS / 2


@pytest.mark.parametrize("link", long_after(1, ["queues", "inprocess"]))
def test_a_paused_run_makes_no_step_and_continues_with_the_same_results(every_step_is_told, link):
    report = Pausing()
    history = swarmsim.run(**SMALL, rounds=1, link=link, out=None, report=report)
    assert len(report.steps_while_paused) == 1
    assert without_times(r.encode() for r in history) == whole(rounds=1)


@TIMED
def test_paused_time_does_not_count_as_training_time(every_step_is_told):
    report = Pausing()
    report.SECONDS = 1.0
    began = time.monotonic()
    history = swarmsim.run(**SMALL, rounds=1, out=None, report=report)
    assert time.monotonic() - began - history[0].seconds > report.SECONDS


def test_a_paused_run_can_be_stopped_and_resumed(in_tmp_path, every_step_is_told):
    assert len(swarmsim.run(**SMALL, rounds=2, out="out", report=Pausing(stops=True))) == 0
    swarmsim.run(resume="out")
    assert metrics("out") == whole(rounds=2)


def test_a_report_that_wants_a_stop_after_a_round_gets_no_step_of_the_next_one():
    class Once(Report):
        phases, ended = [], False

        def phase_began(self, round_number, phase, n_episodes):
            self.phases.append((round_number, phase))

        def round_ended(self, record):
            self.ended = True

        def wants_stop(self):
            return self.ended

    report = Once()
    assert len(swarmsim.run(**SMALL, rounds=3, out=None, report=report)) == 1
    assert {number for number, _ in report.phases} == {1}


def test_several_reports_get_every_event_and_what_one_wants_is_done():
    collecting, pausing = Collecting(), Pausing()
    both = Reports([pausing, collecting])
    both.phase_began(1, EVOLVE, 0)
    both.components_changed({})
    assert (pausing.phase, collecting.components) == (EVOLVE, [{}])
    assert (both.wants_snapshot(), both.wants_pause(), both.wants_stop()) == (True, False, False)


def test_several_reports_forward_every_method_of_a_report():
    methods = {name for name in dir(Report) if not name.startswith("_")}
    assert methods <= vars(Reports).keys()


def test_a_report_may_act_while_control_waits():
    class Waiting(Report):
        times = 0

        def waiting(self):
            self.times += 1

    report = Waiting()
    swarmsim.run(**SMALL, rounds=1, link="inprocess", out=None, report=report)
    assert report.times > 0
