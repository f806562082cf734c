import pytest

from swarmsim.cli import main
from tests.commands.runs import a_run


def test_the_pictures_of_a_run_are_drawn_again_and_named(tmp_path, capsys):
    run = a_run(tmp_path / "run")
    pictures = {path.name: path.read_bytes() for path in run.glob("*.png")}
    for path in run.glob("*.png"):
        path.unlink()
    assert main(["plot", str(run)]) == 0
    names = "scores.png", "population.png", "rooms.png"
    assert capsys.readouterr().out.splitlines() == [str(run / name) for name in names]
    assert {path.name: path.read_bytes() for path in run.glob("*.png")} == pictures


def test_a_run_that_still_goes_on_is_drawn_as_far_as_it_came(tmp_path, capsys):
    run = a_run(tmp_path / "run", ends=False)
    assert main(["plot", str(run)]) == 0
    assert str(run / "scores.png") in capsys.readouterr().out
    assert (run / "scores.png").exists()


def test_a_run_without_a_round_says_so(tmp_path, capsys):
    run = a_run(tmp_path / "run", n_rounds=0, ends=False)
    assert main(["plot", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}: nothing to draw before the first round has ended\n"
    assert not list(run.glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plot"], "the following arguments are required: DIR"),
        (["plot", "nowhere"], "nowhere: there is no such directory"),
        (["plot", "."], ". is no run directory: one has config.yaml, metrics.jsonl and checkpoint/"),
        (["plot", "a", "b"], "unexpected argument 'b'"),
    ],
)
def test_what_is_no_run_is_told_in_one_sentence_with_status_2(in_tmp_path, capsys, arguments, sentence):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"swarmsim: {sentence}\n"
