"""`swarmsim export`, and the lines that it prints."""

import numpy as np
import pytest
import torch

from swarmsim.cli import main
from swarmsim.policy import load_policy


def test_the_lines_that_it_prints_use_the_file_that_it_wrote(copied_run, capsys):
    assert main(["export", str(copied_run)]) == 0
    head, _, program = capsys.readouterr().out.partition("\n\n")
    assert head == f"{copied_run / 'policy.pt'}: 3 models of round-0002.npz; in Python:"
    assert len(program.splitlines()) == 3
    namespace = {"observation": np.zeros(4, np.float32)}
    exec(program, namespace)
    assert namespace["action"] in (0, 1)
    assert torch.equal(namespace["policy"].weights, load_policy(copied_run).weights)


def test_a_member_goes_into_a_file_of_any_name(a_run, tmp_path, capsys):
    path = tmp_path / "one.pt"
    checkpoint = a_run.directory / "checkpoint" / "round-0001.npz"
    assert main(["export", str(checkpoint), "--member", "model2", "--out", str(path)]) == 0
    assert f"{path}: model2 of round-0001.npz" in capsys.readouterr().out
    assert load_policy(path).names == ["model2"]
    assert torch.equal(load_policy(path).weights[0], load_policy(checkpoint).weights[2])


def test_the_swarm_of_the_best_evaluation_is_exported_where_it_is_wanted(copied_run, capsys):
    assert main(["export", str(copied_run), "--best"]) == 0
    assert f"{copied_run / 'policy.pt'}: 3 models of best.npz" in capsys.readouterr().out
    best = load_policy(copied_run / "checkpoint" / "best.npz")
    assert torch.equal(load_policy(copied_run / "policy.pt").weights, best.weights)
    assert torch.equal(load_policy(copied_run, best=True).weights, best.weights)


def test_a_run_without_a_best_checkpoint_is_told(copied_run, capsys):
    (copied_run / "checkpoint" / "best.npz").unlink()
    assert main(["export", str(copied_run), "--best"]) == 2
    sentence = f"{copied_run} holds no best checkpoint: no evaluation of it has ended, or an earlier version ran it"
    assert capsys.readouterr().err == f"swarmsim: {sentence}\n"


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(copied_run, capsys):
    (copied_run / "checkpoint" / "round-0002.npz").write_bytes(b"PK\x03\x04")
    assert main(["export", str(copied_run)]) == 0
    captured = capsys.readouterr()
    assert "round-0002.npz is cut short, or no checkpoint: its checksum is missing; the one before" in captured.err
    assert "3 models of round-0001.npz" in captured.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: DIR"),
        (["missing"], "missing: there is no such directory"),
        (["missing", "--best"], "missing: there is no such directory"),
        (["RUN/config.yaml", "--best"], "config.yaml is a file: the best checkpoint is that of a run directory"),
        (["."], ". is no run directory: one has config.yaml"),
        (["RUN", "--member", "model30"], "unknown member 'model30'; known: model0, model1, model2; did you mean"),
        (["RUN", "--out", "no/policy.pt"], "no/policy.pt cannot be written: No such file or directory"),
        (["RUN", "--membr", "model1"], "unknown flag '--membr'; did you mean '--member'"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_sentence_with_status_2(a_run, in_tmp_path, capsys, arguments, sentence):
    assert main(["export", *(word.replace("RUN", str(a_run.directory)) for word in arguments)]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")
    assert list(in_tmp_path.iterdir()) == []
