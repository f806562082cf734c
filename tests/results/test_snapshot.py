"""A run at one of its checkpoints, found in several ways."""

import pytest

from swarmsim.errors import SettingsError
from swarmsim.results.snapshot import snapshot


def nothing_damaged(damaged):
    raise AssertionError(damaged)


def test_a_run_is_found_at_its_newest_checkpoint(a_run):
    found = snapshot(a_run.directory, nothing_damaged)
    assert (found.run, found.checkpoint.name) == (a_run.directory, "round-0002.npz")
    assert found.history.rounds == a_run.rounds
    assert found.state["components"]["environment"]["n_trained"] == 8


def test_a_checkpoint_finds_its_run(a_run, monkeypatch):
    monkeypatch.chdir(a_run.directory / "checkpoint")
    found = snapshot("round-0001.npz", nothing_damaged)
    assert found.run == a_run.directory
    assert found.history.rounds == a_run.rounds[:1]


def test_each_damaged_checkpoint_after_it_is_told(copied_run):
    newest = copied_run / "checkpoint" / "round-0002.npz"
    newest.write_bytes(newest.read_bytes()[:-1])
    told = []
    assert snapshot(copied_run, told.append).checkpoint.name == "round-0001.npz"
    assert [str(damaged).split(" ")[0] for damaged in told] == [str(newest)]


def test_a_run_without_a_checkpoint_is_told(copied_run):
    for path in (copied_run / "checkpoint").iterdir():
        path.unlink()
    with pytest.raises(SettingsError, match="holds no checkpoint yet: its first round has not ended"):
        snapshot(copied_run, nothing_damaged)


def test_a_checkpoint_outside_of_a_run_lacks_its_settings(copied_run, tmp_path):
    path = tmp_path / "lost" / "round-0002.npz"
    path.parent.mkdir()
    (copied_run / "checkpoint" / "round-0002.npz").rename(path)
    with pytest.raises(SettingsError, match=r"round-0002.npz is in no run directory: there is no .*config.yaml"):
        snapshot(path, nothing_damaged)


def test_what_is_neither_a_run_nor_a_checkpoint_is_told(a_run, tmp_path):
    for path, sentence in [
        (tmp_path / "nothing", "nothing: there is no such directory"),
        (tmp_path / "nothing.npz", "nothing.npz cannot be read: No such file or directory"),
        (a_run.directory / "config.yaml", "config.yaml is no checkpoint"),
        (tmp_path, "is no run directory"),
    ]:
        with pytest.raises(SettingsError, match=sentence):
            snapshot(path, nothing_damaged)
