"""`swarmsim inspect`, on runs of all kinds."""

import numpy as np
import pytest
import yaml

from swarmsim.cli import main
from swarmsim.commands.inspect import MOST_MODELS
from swarmsim.results.checkpoint import read_checkpoint, read_weights, write_checkpoint


def inspected(path, capsys) -> dict[str, list[str]]:
    """Return what is printed, by the titles of its parts."""
    assert main(["inspect", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    parts = [part.splitlines() for part in captured.out.strip().split("\n\n")]
    return {title: [line.removeprefix("  ") for line in lines] for title, *lines in parts}


def test_a_run_is_told_with_all_its_checkpoints(a_run, capsys):
    found = inspected(a_run.directory, capsys)
    assert list(found) == ["run", "checkpoints", "round-0002.npz", "models", "arrays"]
    run = "\n".join(found["run"])
    for told in (str(a_run.directory), "CartPole-v1", "3 models", "seed 1", "preset default", "swarmsim ", "python "):
        assert told in run
    *newest, best = found["checkpoints"]
    assert best.split()[:4] == ["best.npz", "round", str(best_round(a_run)), "best"]
    assert [line.split() for line in newest] == [
        [f"round-000{n}.npz", "round", str(n), "complete", *_kib(a_run, n).split(), "sound"] for n in (1, 2)
    ]
    assert found["round-0002.npz"] == [*str(a_run).splitlines(), "failures: none"]


def best_round(run) -> int:
    return read_checkpoint(run.directory / "checkpoint" / "best.npz")["best"]["round"]


def _kib(run, number: int) -> str:
    return f"{(run.directory / 'checkpoint' / f'round-000{number}.npz').stat().st_size / 1024:,.1f} KiB"


def test_models_are_told_with_their_layers_sizes_norms_and_updates(a_run, capsys):
    lines = inspected(a_run.directory, capsys)["models"]
    assert lines[:2] == ["actor  4 → 32 → 32 → 2, tanh between", "critic 4 → 32 → 32 → 1, tanh between"]
    path = a_run.directory / "checkpoint" / "round-0002.npz"
    updates = read_checkpoint(path)["components"]["models0-2"]["n_updates"][0]
    assert updates > 0
    for line, (name, weights) in zip(lines[3:], read_weights(path).items(), strict=True):
        assert line.split() == [name, "2,531", f"{np.linalg.norm(weights):.3f}", f"{updates:,}"]


def test_every_array_is_told_with_its_kind_and_size(a_run, capsys):
    lines = inspected(a_run.directory / "checkpoint" / "round-0001.npz", capsys)["arrays"]
    assert "  weights                            float32  (3, 2531)                30,372 bytes" in lines
    with np.load(a_run.directory / "checkpoint" / "round-0001.npz") as archive:
        n_arrays = len([name for name in archive.files if name != "state"])
    assert sum(line.startswith("  ") for line in lines) == n_arrays
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == [
        "aggregation", "models0-2", "evolution", "environment",
    ]  # fmt: skip


def test_one_checkpoint_is_told_by_itself(a_run, capsys):
    found = inspected(a_run.directory / "checkpoint" / "round-0001.npz", capsys)
    assert list(found) == ["run", "round-0001.npz", "models", "arrays"]
    assert len(found["round-0001.npz"]) == 3  # the head, a round, no failures


def test_damaged_and_begun_checkpoints_are_told_as_such(copied_run, capsys):
    folder = copied_run / "checkpoint"
    (folder / "round-0002.npz").rename(folder / "round-0002-begun.npz")
    (folder / "round-0003.npz").write_bytes(b"PK")
    found = inspected(copied_run, capsys)
    words = [line.split(maxsplit=6) for line in found["checkpoints"]]
    assert [line[3] for line in words] == ["complete", "begun", "complete", "best"]
    damage = "is cut short, or no checkpoint: its checksum is missing"
    assert [line[6] for line in words] == ["sound", "sound", damage, "sound"]
    assert "round-0002-begun.npz" in found


def test_failures_and_many_models_are_told_in_short(copied_run, capsys):
    path = copied_run / "checkpoint" / "round-0002.npz"
    state = read_checkpoint(path)
    failure = {"round": 2, "phase": "train", "component": "models0-2", "error": "ProcessEnded", "message": "it\nended"}
    state["history"]["failures"] = [{**failure, "traceback": "", "healed": True}]
    models = state["components"].pop("models0-2")
    names = [f"model{i}" for i in range(30)]
    state["components"]["models0-29"] = {**models, "components": names, "weights": np.ones((30, 2531), np.float32)}
    write_checkpoint(path, state)
    found = inspected(copied_run, capsys)
    assert "failures: 1" in found["round-0002.npz"]
    assert found["round-0002.npz"][-1] == "round 2, train: models0-2: ProcessEnded: it ended (healed)"
    assert len(found["models"]) == 3 + MOST_MODELS + 1
    assert found["models"][-1] == "… and 10 more; norms of all: 50.309 to 50.309"


def test_a_run_whose_environment_is_not_here_is_told_all_the_same(copied_run, capsys):
    settings = yaml.safe_load((copied_run / "config.yaml").read_text())
    (copied_run / "config.yaml").write_text(yaml.safe_dump({**settings, "env": "Nowhere-v0"}))
    lines = inspected(copied_run, capsys)["models"]
    assert lines[0] == "hidden layers: 32, 32 (unknown environment 'Nowhere-v0')"
    assert len(lines) == 5


def test_where_all_checkpoints_are_damaged_each_is_told_and_the_status_is_2(copied_run, capsys):
    for path in (copied_run / "checkpoint").iterdir():
        path.write_bytes(b"no archive")
    assert main(["inspect", str(copied_run)]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("is no checkpoint") == 3
    assert captured.err == f"swarmsim: {copied_run / 'checkpoint'} has no sound checkpoint: all 2 are damaged\n"


def test_a_damaged_file_is_told_in_one_sentence_with_status_2(copied_run, capsys):
    path = copied_run / "checkpoint" / "round-0002.npz"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    assert main(["inspect", str(path)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"swarmsim: {path} is damaged: its checksum does not fit\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: DIR|FILE.npz"),
        (["missing"], "missing: there is no such directory"),
        (["missing.npz"], "missing.npz cannot be read: No such file or directory"),
        (["."], ". is no run directory: one has config.yaml"),
        ([".", "more"], "unexpected argument 'more'"),
    ],
)
def test_what_cannot_be_inspected_is_told_in_one_sentence_with_status_2(in_tmp_path, capsys, arguments, sentence):
    assert main(["inspect", *arguments]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")
