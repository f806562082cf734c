import dataclasses
import json
from pathlib import Path

from swarmsim.results.history import History, Round
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
    assert Round.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_a_history_comes_back_from_a_checkpoint_but_for_where_it_lies():
    history = History(SETTINGS, Path("here"), [a_round(1), a_round(2)], wall_seconds=1.5, failures=[FAILURE])
    state = json.loads(json.dumps(history.to_state()))
    assert History.from_state(state) == dataclasses.replace(history, directory=None)
    others = {**SETTINGS, "link": "inprocess"}
    assert History.from_state(state, others, Path("there")) == dataclasses.replace(
        history, settings=others, directory=Path("there")
    )


def test_what_a_history_told_stays_as_it_was():
    history = History(SETTINGS, rounds=[a_round(1)], wall_seconds=1.5)
    state = history.to_state()
    history.rounds.append(a_round(2))
    history.failures.append(FAILURE)
    history.wall_seconds += 1
    assert History.from_state(state) == History(SETTINGS, rounds=[a_round(1)], wall_seconds=1.5)
