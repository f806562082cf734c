import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from swarmsim.errors import SettingsError
from swarmsim.results.history import History
from swarmsim.results.pictures import write_pictures
from swarmsim.results.run_directory import RunDirectory, read_settings
from tests.conftest import ROOT
from tests.results.rounds import SETTINGS, a_round, output_of_child


def a_run(tmp_path, settings=SETTINGS) -> RunDirectory:
    return RunDirectory.create(str(tmp_path / "run"), "X-v0", settings, keep=2)


def a_history(n_rounds: int) -> History:
    return History(SETTINGS, rounds=[a_round(number) for number in range(1, n_rounds + 1)])


def rounds_in(directory: RunDirectory) -> list[int]:
    lines = (directory.path / "metrics.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    return [json.loads(line)["round"] for line in lines]


def refuse(damage: SettingsError) -> None:
    raise AssertionError(damage)


# --- a new run


def test_a_round_is_a_line_as_soon_as_it_is_added(tmp_path):
    directory = a_run(tmp_path)
    for number in (1, 2):
        directory.append_round(History(SETTINGS, rounds=[a_round(number)]))
        assert rounds_in(directory) == list(range(1, number + 1))
    directory.close(History(SETTINGS))


def test_the_last_checkpoints_are_kept(tmp_path):
    directory = a_run(tmp_path)
    assert directory.checkpoints.read_newest(refuse) is None
    for number in (1, 2, 3):
        path = directory.checkpoints.write(number, {"weights": np.full(5, number)}, complete=True)
    begun = directory.checkpoints.write(4, {"weights": np.full(5, 4)}, complete=False)
    assert sorted((tmp_path / "run" / "checkpoint").iterdir()) == [path, begun]
    newest, state = directory.checkpoints.read_newest(refuse)
    assert (newest, state["weights"].tolist()) == (begun, [4] * 5)
    directory.close(History(SETTINGS))


def test_a_run_without_a_round_has_a_summary_and_no_picture(tmp_path):
    a_run(tmp_path).close(History(SETTINGS), write_pictures)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["final_score"], summary["best_score"], summary["env_steps"]) == (None, None, 0)
    assert not (tmp_path / "run" / "scores.png").exists()


def test_a_directory_of_a_run_is_refused_and_an_empty_one_is_used(tmp_path):
    (tmp_path / "run").mkdir()
    a_run(tmp_path).close(History(SETTINGS))
    with pytest.raises(SettingsError, match="holds a run already"):
        a_run(tmp_path)


def test_directories_named_by_themselves_are_all_different(in_tmp_path):
    runs = [RunDirectory.create("auto", "ns/Pole:X-v0", SETTINGS, keep=1) for _ in range(5)]
    assert len({run.path for run in runs}) == 5
    assert all(run.path.parent.name == "runs" and run.path.name.startswith("ns-Pole-X-v0-") for run in runs)
    for run in runs:
        run.close(History(SETTINGS))


def test_where_no_run_could_be_begun_one_can_be_begun_later(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml.new").symlink_to("/dev/full")
    with pytest.raises(SettingsError, match=r"run/config\.yaml cannot be written: No space left on device$"):
        a_run(tmp_path)
    a_run(tmp_path).close(History(SETTINGS))


def test_where_nothing_can_be_written_a_sentence_tells_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=f"^out: {tmp_path}/file/run cannot be written: Not a directory$"):
        RunDirectory.create(str(tmp_path / "file" / "run"), "X-v0", SETTINGS, keep=1)


# --- a run that is gone on with


def test_a_run_goes_on_where_it_was_and_its_summary_and_picture_are_of_all_of_it(tmp_path):
    directory = a_run(tmp_path)
    for record in a_history(2):
        directory.append_round(History(SETTINGS, rounds=[record]))
    directory.close(a_history(2), write_pictures)
    picture = (tmp_path / "run" / "scores.png").read_bytes()

    directory = RunDirectory.resume(str(tmp_path / "run"), keep=2)
    directory.append_round(History(SETTINGS, rounds=[a_round(3)]))
    assert rounds_in(directory) == [1, 2, 3]
    directory.close(a_history(3), write_pictures)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["env_steps"] == 60
    assert (tmp_path / "run" / "scores.png").read_bytes() != picture


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b'{"round": 1, "train_sc',
        b"\xff\0\n\n",
        b"".join(json.dumps(a_round(number).encode()).encode() + b"\n" for number in range(1, 5)),
        None,
    ],
    ids=["nothing", "half a line", "rubbish", "more rounds", "no file"],
)
@pytest.mark.parametrize("n_rounds", [0, 2])
def test_whatever_a_killed_run_left_the_metrics_are_those_of_its_history(tmp_path, left, n_rounds):
    a_run(tmp_path).close(History(SETTINGS))
    metrics = tmp_path / "run" / "metrics.jsonl"
    if left is None:
        metrics.unlink()
    else:
        metrics.write_bytes(left)
    directory = RunDirectory.resume(tmp_path / "run", keep=1)
    directory.rewrite_metrics(a_history(n_rounds))
    assert rounds_in(directory) == list(range(1, n_rounds + 1))
    directory.append_round(History(SETTINGS, rounds=[a_round(n_rounds + 1)]))
    assert rounds_in(directory) == list(range(1, n_rounds + 2))
    directory.close(History(SETTINGS))


def test_a_run_that_is_killed_again_and_again_goes_on_each_time(tmp_path):
    a_run(tmp_path).close(History(SETTINGS))
    draw, done = random.Random(0), 0

    def resumed() -> tuple[RunDirectory, History]:
        directory = RunDirectory.resume(tmp_path / "run", keep=2)
        newest = directory.checkpoints.read_newest(refuse)
        history = History(SETTINGS) if newest is None else History.decode(newest[1]["history"])
        directory.rewrite_metrics(history)
        return directory, history

    def work(tell) -> None:
        directory, history = resumed()
        while True:
            tell(str(len(history)))
            history.rounds.append(a_round(len(history) + 1))
            directory.append_round(history)
            directory.checkpoints.write(
                len(history), {"history": history.encode(), "ballast": np.zeros(10_000)}, complete=True
            )

    for _ in range(30):
        done = int(output_of_child(work, kill_after=draw.uniform(0, 0.03))[-1])
        directory, history = resumed()
        assert len(history) in (done, done + 1)
        assert rounds_in(directory) == [r.round for r in history] == list(range(1, len(history) + 1))
        directory.close(History(SETTINGS))
    assert done > 0


# --- one process at a time


RESUME = "import sys; from swarmsim.results.run_directory import RunDirectory; RunDirectory.resume(sys.argv[1], 1)"


def refusal(path) -> str:
    """Return how the refusal ends that another process gets, which wants to go on with the run; "" if it gets none."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-c", RESUME, str(path)]
    done = subprocess.run(program, env=environ, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip().rpartition("SettingsError: ")[2]


@pytest.mark.parametrize("is_new", [True, False])
def test_a_second_process_is_refused_until_the_first_has_closed(tmp_path, is_new):
    directory = a_run(tmp_path)
    if not is_new:
        directory.close(History(SETTINGS))
        directory = RunDirectory.resume(tmp_path / "run", keep=1)
    directory.append_round(History(SETTINGS, rounds=[a_round(1)]))
    directory.rewrite_metrics(History(SETTINGS))
    assert refusal(tmp_path / "run") == f"{tmp_path / 'run'}: another process runs in it"
    directory.close(History(SETTINGS))
    assert refusal(tmp_path / "run") == ""


def test_a_component_that_ends_does_not_open_the_run_to_others(tmp_path):
    directory = a_run(tmp_path)
    output_of_child(lambda tell: directory._metrics.close())
    assert refusal(tmp_path / "run").endswith("another process runs in it")
    directory.close(History(SETTINGS))


def test_a_component_that_outlives_a_killed_run_does_not_keep_others_out(tmp_path):
    a_run(tmp_path).close(History(SETTINGS))

    def work(tell) -> None:
        RunDirectory.resume(tmp_path / "run", keep=1)
        component = os.fork()
        if component == 0:
            time.sleep(60)
        tell(str(component))
        time.sleep(60)

    (component,) = map(int, output_of_child(work, kill_after=0))
    try:
        RunDirectory.resume(tmp_path / "run", keep=1).close(History(SETTINGS))
    finally:
        os.kill(component, signal.SIGKILL)


# --- the settings of a run


def test_the_settings_of_a_run_are_those_it_was_given(tmp_path):
    settings = {**SETTINGS, "a2c": {"hidden": [64, 64], "learning_rate": 7e-4}, "out": None}
    a_run(tmp_path, settings).close(History(SETTINGS))
    assert read_settings(tmp_path / "run") == settings
    assert "versions" in yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())


def test_what_is_no_run_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    for open_run in (read_settings, lambda path: RunDirectory.resume(path, keep=1)):
        for name in ("nowhere", "file"):
            with pytest.raises(SettingsError, match=f"^{tmp_path / name}: there is no such directory$"):
                open_run(tmp_path / name)
        sentence = f"^{tmp_path} is no run directory: one has config.yaml, metrics.jsonl and checkpoint/$"
        with pytest.raises(SettingsError, match=sentence):
            open_run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\0",
        b"\xff\xfe",
        b"seed: [1,",
        b"just text",
        b"- 1",
        b"seed: !!int ''",
        b"on: 2001-99-99",
        b"[" * 9999,
    ],
)
def test_damaged_settings_are_told_in_a_sentence(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(SettingsError, match=f"^{tmp_path}/config.yaml is damaged: [^\n]+$"):
        read_settings(tmp_path)


def test_settings_that_cannot_be_read_are_told_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").touch()

    def failing(path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", failing)
    with pytest.raises(SettingsError, match=f"^{tmp_path}/config.yaml cannot be read: Permission denied$"):
        read_settings(tmp_path)
