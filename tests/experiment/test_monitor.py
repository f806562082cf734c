"""What is seen of a swarm while it works, by looks that change nothing; and a report that holds or stops it."""

import os
import signal
import time

import pytest

import swarmsim
from swarmsim.components.contribution_tracker import ContributionTracker
from swarmsim.experiment import monitor
from swarmsim.views.report import EVALUATE, EVOLVE, TRAIN, ComponentStatus, Report, Reports
from tests.experiment.test_resume import LITTLE, SMALL, metrics, whole, without_times


class Looking(Report):
    """Looks as often as it is asked, and keeps what it sees."""

    def __init__(self):
        self.sights, self.components = [], []

    def wants_snapshot(self):
        return True

    def component_seen(self, sight):
        self.sights.append(sight)

    def components_changed(self, components):
        self.components.append(dict(components))


@pytest.mark.parametrize("link", ["inprocess", "queues", "sockets"])
def test_every_message_of_a_step_is_counted_once_on_every_link(link):
    history = swarmsim.run(rounds=2, population=3, episodes=3, workers=3, link=link, out=None, ppo=LITTLE)
    n_runs = 3 * len(history)  # training, and two evaluations
    n_steps = history.env_steps + sum(round(r.eval_score + r.eval_score_evolved) for r in history)
    models = ["model0", "model1", "model2"]
    assert history.messages["observation"]["environment"] == dict.fromkeys(models, n_steps + n_runs)
    assert {name: history.messages["logits"][name] for name in models} == {
        name: {"aggregation": n_steps} for name in models
    }
    assert history.messages["action"] == {"aggregation": {"environment": n_steps}}
    assert history.messages["evolution"]["evolution"]["aggregation"] == 2 * len(history)  # GET and SET


def test_looks_change_nothing_and_show_shares_losses_and_states(monkeypatch, every_step_is_told):
    monkeypatch.setattr(ContributionTracker, "BLOCK", 50)
    monkeypatch.setattr(monitor, "LEAST_SECONDS", 0.01)
    report = Looking()
    history = swarmsim.run(**SMALL, rounds=2, workers=2, out=None, report=report)
    assert without_times(r.encode() for r in history) == whole(rounds=2)
    by_component = {sight.component for sight in report.sights}
    assert by_component == {"aggregation", "environment", "evolution", "models0-1", "models2-4", "control"}
    shares = [sight.shares for sight in report.sights if len(sight.shares) == 5]
    assert any(sum(share.values()) == pytest.approx(1.0) for share in shares)
    learnt = [sight for sight in report.sights if sight.learning_number]
    assert {sight.component for sight in learnt} == {"models0-1", "models2-4"}
    assert all(sight.learning["entropy"] > 0 and sight.learning["gradient_norm"] > 0 for sight in learnt)
    assert {status.state for status in report.components[-1].values()} == {"ready"}
    assert len({status.process_id for status in report.components[-1].values()}) == 5


def test_the_end_of_a_component_that_the_swarm_goes_on_without_is_seen_too():
    class Killing(Looking):
        def phase_began(self, round_number, phase, n_episodes):
            if phase == EVALUATE:
                os.kill(self.components[-1]["model1"].process_id, signal.SIGKILL)

    report = Killing()
    history = swarmsim.run(**SMALL, rounds=1, workers=5, restart="never", out=None, report=report)
    assert report.components[-1]["model1"] == ComponentStatus("stopped", None, 1)
    assert len(history) == 1


class Holding(Report):
    """Holds the first training for a while, once it has begun, and then stops it if it is to."""

    SECONDS = 0.3

    def __init__(self, *, stops=False):
        self.steps_while_held, self.held_at, self.steps, self.stops, self.phase = set(), None, 0, stops, ""

    def phase_began(self, round_number, phase, n_episodes):
        self.phase = phase

    def episodes_ended(self, returns, n_steps):
        self.steps = n_steps
        if self.held_at is None and self.phase == TRAIN:
            self.held_at = time.monotonic()

    def wants_pause(self):
        holds = self.held_at is not None and time.monotonic() < self.held_at + self.SECONDS
        if holds:
            self.steps_while_held.add(self.steps)
        return holds

    def wants_stop(self):
        return self.stops and self.held_at is not None and time.monotonic() > self.held_at + self.SECONDS / 2


@pytest.mark.parametrize("link", ["inprocess", "queues"])
def test_a_run_that_is_held_stands_still_and_goes_on_as_if_nothing_had_been(every_step_is_told, link):
    report = Holding()
    history = swarmsim.run(**SMALL, rounds=1, link=link, out=None, report=report)
    assert len(report.steps_while_held) == 1
    assert without_times(r.encode() for r in history) == whole(rounds=1)


def test_the_time_that_a_run_is_held_is_not_its_own(every_step_is_told):
    report = Holding()
    report.SECONDS = 2.0
    began = time.monotonic()
    history = swarmsim.run(**SMALL, rounds=1, out=None, report=report)
    assert time.monotonic() - began > report.SECONDS > history[0].seconds


def test_a_held_run_can_be_stopped_and_gone_on_with(in_tmp_path, every_step_is_told):
    assert len(swarmsim.run(**SMALL, rounds=2, out="out", report=Holding(stops=True))) == 0
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


def test_several_reports_are_told_all_and_what_one_wants_is_done():
    looking, holding = Looking(), Holding()
    both = Reports([holding, looking])
    both.phase_began(1, EVOLVE, 0)
    both.components_changed({})
    assert (holding.phase, looking.components) == (EVOLVE, [{}])
    assert (both.wants_snapshot(), both.wants_pause(), both.wants_stop()) == (True, False, False)
