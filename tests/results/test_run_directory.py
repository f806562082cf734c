import json

import numpy as np
import pytest

from swarmsim.errors import SettingsError
from swarmsim.results.history import History, Round
from swarmsim.results.run_directory import RunDirectory, load_weights

SETTINGS = {"seed": 0, "env": "X-v0", "population": 2, "workers": 1, "link": "queues", "preset": "default"}


def a_round(number: int, **values) -> Round:
    defaults = {
        "round": number,
        "train_score": 10.0,
        "train_returns": [9.0, 11.0],
        "eval_score": 12.0,
        "eval_score_evolved": 13.0,
        "env_steps": 20 * number,
        "seconds": 0.5,
        "steps_per_second": 40.0,
        "contribution": {"model0": 1.0},
        "diversity": 0.1,
        "evolution": {"parents_kept": 1, "crossovers": 0, "mutations": 0},
    }
    return Round(**{**defaults, **values})


def test_a_round_is_a_line_as_soon_as_it_is_added(tmp_path):
    directory = RunDirectory.create(str(tmp_path / "run"), "X-v0", SETTINGS)
    for number in (1, 2):
        directory.add_round(a_round(number))
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["round"] for line in lines] == list(range(1, number + 1))
    directory.close(History(SETTINGS))


def test_the_last_rounds_weights_are_kept_whole(tmp_path):
    directory = RunDirectory.create(str(tmp_path / "run"), "X-v0", SETTINGS)
    weights = {f"model{i}": np.full(5, i, np.float32) for i in range(12)}
    directory.save_weights(1, weights)
    path = directory.save_weights(2, {name: genome + 1 for name, genome in weights.items()})
    assert [p.name for p in (tmp_path / "run" / "checkpoint").iterdir()] == ["round-0002.npz"]
    loaded = load_weights(path)
    assert list(loaded) == list(weights)
    assert all(np.array_equal(loaded[name], weights[name] + 1) for name in weights)
    directory.close(History(SETTINGS))


def test_weights_are_loaded_without_running_code_from_the_file(tmp_path):
    np.savez(tmp_path / "evil.npz", model0=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_weights(tmp_path / "evil.npz")


def test_a_run_without_a_round_has_a_summary_and_no_picture(tmp_path):
    RunDirectory.create(str(tmp_path / "run"), "X-v0", SETTINGS).close(History(SETTINGS))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["final_score"], summary["best_score"], summary["env_steps"]) == (None, None, 0)
    assert not (tmp_path / "run" / "scores.png").exists()


def test_a_summary_sums_up():
    history = History(SETTINGS, rounds=[a_round(1, eval_score=50.0), a_round(2)])
    summary = history.summary()
    assert (summary["final_score"], summary["best_score"], summary["env_steps"]) == (13.0, 50.0, 40)
    assert (summary["train_seconds"], summary["steps_per_second"]) == (1.0, 40.0)


def test_a_directory_of_a_run_is_refused_and_an_empty_one_is_used(tmp_path):
    (tmp_path / "empty").mkdir()
    RunDirectory.create(str(tmp_path / "empty"), "X-v0", SETTINGS).close(History(SETTINGS))
    with pytest.raises(SettingsError, match="holds a run already"):
        RunDirectory.create(str(tmp_path / "empty"), "X-v0", SETTINGS)


def test_directories_named_by_themselves_are_all_different(in_tmp_path):
    runs = [RunDirectory.create("auto", "ns/Pole:X-v0", SETTINGS) for _ in range(5)]
    assert len({run.path for run in runs}) == 5
    assert all(run.path.parent.name == "runs" and run.path.name.startswith("ns-Pole-X-v0-") for run in runs)
    for run in runs:
        run.close(History(SETTINGS))
