import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from swarmsim.errors import SettingsError
from swarmsim.results.history import History, Round
from tests.conftest import ROOT
from tests.results.rounds import SETTINGS, a_round

FAILURE = {
    "round": 2,
    "phase": "train",
    "component": "models0-1",
    "error": "ProcessEnded",
    "message": "it was killed",
    "traceback": "",
    "healed": True,
}


def test_a_summary_sums_up():
    history = History(SETTINGS, rounds=[a_round(1, eval_score=50.0), a_round(2)], failures=[FAILURE])
    summary = history.summary()
    assert (summary["final_score"], summary["best_score"], summary["env_steps"]) == (13.0, 50.0, 40)
    assert (summary["train_seconds"], summary["steps_per_second"]) == (1.0, 40.0)
    assert summary["failures"] == [FAILURE]


def test_a_round_comes_back_from_its_line():
    record = a_round(3, train_score=1 / 3, contribution={"model0": 0.1, "model1": 0.9})
    assert Round.decode(json.loads(json.dumps(record.encode()))) == record


def test_a_history_comes_back_from_a_checkpoint_but_for_where_it_lies():
    history = History(SETTINGS, Path("here"), [a_round(1), a_round(2)], wall_seconds=1.5, failures=[FAILURE])
    state = json.loads(json.dumps(history.encode()))
    assert History.decode(state) == dataclasses.replace(history, directory=None)
    others = {**SETTINGS, "link": "inprocess"}
    assert History.decode(state, others, Path("there")) == dataclasses.replace(
        history, settings=others, directory=Path("there")
    )


def test_what_a_history_told_stays_as_it_was():
    history = History(SETTINGS, rounds=[a_round(1)], wall_seconds=1.5)
    state = history.encode()
    history.rounds.append(a_round(2))
    history.failures.append(FAILURE)
    history.wall_seconds += 1
    assert History.decode(state) == History(SETTINGS, rounds=[a_round(1)], wall_seconds=1.5)


def test_a_history_knows_in_which_round_it_was_solved():
    rounds = [a_round(1), a_round(2, eval_score=50.0), a_round(3, eval_score_evolved=60.0)]
    for threshold, solved_in in ((13.0, 1), (50.0, 2), (60.0, 3), (61.0, None), (None, None)):
        assert History({**SETTINGS, "reward_threshold": threshold}, rounds=rounds).solved_in == solved_in
    assert History(SETTINGS, rounds=rounds).solved_in is None


def test_a_history_knows_after_how_many_steps_it_was_solved_and_counts_every_evaluation():
    within = [[21, 45.0], [30, 55.0]]
    rounds = [a_round(1), a_round(2, evaluations=within, eval_score=50.0), a_round(3, eval_score_evolved=60.0)]
    for threshold, steps, solved_in in ((13.0, 20, 1), (50.0, 30, 2), (46.0, 30, 2), (60.0, 60, 3), (61.0, None, None)):
        history = History({**SETTINGS, "reward_threshold": threshold}, rounds=rounds)
        assert (history.first_solved_steps, history.solved_in) == (steps, solved_in)
        assert history.summary()["first_solved_steps"] == steps
        assert history.summary()["best_score"] == 60.0
    assert History(SETTINGS, rounds=rounds).first_solved_steps is None


def test_a_round_of_an_earlier_version_is_read_as_one_without_evaluations_within_training():
    values = a_round(1).encode()
    del values["evaluations"]
    assert Round.decode(values) == a_round(1)


@pytest.mark.parametrize("damage", [{}, [1.0], [[1]], [[1, "x"]], [[1, 2, 3]]])
def test_evaluations_that_are_none_are_refused(damage):
    with pytest.raises(TypeError, match="evaluations is of another type"):
        Round.decode({**a_round(1).encode(), "evaluations": damage})


def test_a_history_is_a_table_in_a_notebook_and_its_texts_stay_texts():
    history = History({**SETTINGS, "env": "<b>:X"}, rounds=[a_round(1), a_round(2, eval_score_evolved=0.123456)])
    table = history._repr_html_()
    assert "<caption>&lt;b&gt;:X, 2 models acting as one, seed 0</caption>" in table
    assert re.findall(r'<td class="eval-evolved">([^<]+)</td>', table) == ["13.0", "0.1235"]
    assert table.count("<tr>") == 3
    assert "<table" in History(SETTINGS)._repr_html_()


def test_a_history_plots_its_scores_once_it_has_some():
    picture = History(SETTINGS, rounds=[a_round(1)]).plot()
    assert picture.axes[0].get_title().startswith("Scores of each round")
    with pytest.raises(SettingsError, match="^no round has ended so far, so there is nothing to plot$"):
        History(SETTINGS).plot()


def test_a_history_needs_no_matplotlib_before_it_is_plotted():
    program = "import sys, swarmsim.results.history; sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0
