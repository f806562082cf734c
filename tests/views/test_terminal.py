"""What a run says in the terminal, with and without bars."""

import re

import pytest

from swarmsim.components.results import ComponentSnapshot, EvolutionResult, JobResult
from swarmsim.results.history import History
from swarmsim.views.report import EVALUATE, EVALUATE_EVOLVED, EVOLVE, TRAIN, ComponentStatus
from swarmsim.views.terminal import TerminalReport
from tests.results.rounds import SETTINGS, a_round

LINE = "round 3 train 58.5 | eval 77 | evolved 84 | 1,412 steps/s"


class Terminal:
    """Where both streams go: a terminal, or files."""

    def __init__(self, capsys, monkeypatch, *, is_terminal: bool) -> None:
        self._capsys, self._monkeypatch, self._is_terminal = capsys, monkeypatch, is_terminal

    def report(self, **wanted) -> TerminalReport:
        for stream in ("stdout", "stderr"):
            self._monkeypatch.setattr(f"sys.{stream}.isatty", lambda: self._is_terminal)
        return TerminalReport(**wanted)

    def read(self) -> tuple[str, str]:
        told = self._capsys.readouterr()
        return told.out, told.err


@pytest.fixture(params=[True, False], ids=["a terminal", "a file"])
def terminal(request, capsys, monkeypatch) -> Terminal:
    return Terminal(capsys, monkeypatch, is_terminal=request.param)


@pytest.fixture
def a_file(capsys, monkeypatch) -> Terminal:
    return Terminal(capsys, monkeypatch, is_terminal=False)


@pytest.fixture
def a_terminal(capsys, monkeypatch) -> Terminal:
    return Terminal(capsys, monkeypatch, is_terminal=True)


def train_and_evaluate(report: TerminalReport) -> None:
    report.phase_began(3, TRAIN, 2)
    report.episodes_ended([50.0], 50)
    report.phase_ended(3, TRAIN, JobResult([50.0, 67.0], [50, 67], 0.1))
    report.phase_began(3, EVALUATE, 1)
    report.phase_ended(3, EVALUATE, JobResult([77.0], [77], 0.1))


def finish(report: TerminalReport) -> None:
    report.phase_began(3, EVOLVE, 0)
    report.phase_ended(3, EVOLVE, EvolutionResult({"model0": 1.0}, 0.1, 1, 0, 0))
    report.phase_began(3, EVALUATE_EVOLVED, 1)
    report.phase_ended(3, EVALUATE_EVOLVED, JobResult([84.0], [84], 0.1))
    report.round_ended(a_round(3, steps_per_second=1412.3))


def test_a_round_is_one_line_on_stdout(terminal):
    report = terminal.report()
    report.began(History(SETTINGS), 5)
    train_and_evaluate(report)
    finish(report)
    report.close()
    out, _ = terminal.read()
    assert out == f"2 models in 1 process act as one on X-v0: seed 0, link queues, preset default\n{LINE}\n"


def test_each_phase_adds_its_part_as_it_ends_where_no_bars_are_in_the_way(a_file):
    report = a_file.report()
    train_and_evaluate(report)
    assert a_file.read() == ("round 3 train 58.5 | eval 77", "")
    finish(report)
    assert a_file.read() == (LINE.removeprefix("round 3 train 58.5 | eval 77") + "\n", "")


def test_a_round_that_was_broken_off_is_told_as_far_as_it_came(terminal):
    report = terminal.report()
    train_and_evaluate(report)
    report.close()
    assert terminal.read()[0] == "round 3 train 58.5 | eval 77\n"


def test_bars_show_rounds_and_episodes_with_score_and_speed_on_stderr(a_terminal):
    report = a_terminal.report()
    report.began(History(SETTINGS, rounds=[a_round(1), a_round(2)]), 5)
    report.phase_began(3, TRAIN, 20)
    report.episodes_ended([50.0, 67.0], 117)
    report._episodes.refresh()
    report.close()
    _, err = a_terminal.read()
    assert re.search(r"rounds: +40%.*2/5", err)
    assert re.search(r"train 3: +10%.*2/20 .*score 58.5, [\d,]+ steps/s", err)


@pytest.mark.parametrize("wanted", [True, False])
def test_nothing_but_remarks_is_on_stderr_where_it_is_no_terminal_or_bars_are_not_wanted(capsys, monkeypatch, wanted):
    terminal = Terminal(capsys, monkeypatch, is_terminal=not wanted)
    report = terminal.report(bars=wanted)
    report.began(History(SETTINGS), 5)
    train_and_evaluate(report)
    report.noted("somebody was replaced")
    finish(report)
    report.close()
    assert terminal.read()[1] == "swarmsim: somebody was replaced\n"


def test_verbose_tells_of_components_as_they_change_and_what_they_took_in_each_round(a_file):
    report = a_file.report(verbose=True)
    ready = ComponentStatus("ready", 11, 0)
    report.components_changed({"environment": ready, "models0-1": ComponentStatus("ready", None, 0)})
    assert a_file.read()[1].splitlines() == [
        "environment: ready, process 11",
        "models0-1: ready",
    ]
    report.components_changed({"environment": ready, "models0-1": ComponentStatus("ready", 12, 1)})
    assert a_file.read()[1] == "models0-1: ready, process 12, failed 1 ×\n"
    report.component_seen(
        ComponentSnapshot("environment", [("action", "aggregation", 1200), ("control", "control", 34)])
    )
    finish(report)
    assert a_file.read()[1].splitlines() == [
        "components in round 3:",
        "  environment  ready, process 11, received 1,234 messages",
        "  models0-1    ready, process 12, failed 1 ×, received 0 messages",
    ]
