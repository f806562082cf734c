import pytest

from swarmsim.cli import main
from swarmsim.commands.report import settings_of
from tests.commands.runs import FAILURE, a_run
from tests.results.test_html_report import Page


def report_of(*arguments) -> int:
    return main(["report", *map(str, arguments)])


def test_the_report_of_a_run_lies_in_its_directory(tmp_path, capsys):
    run = a_run(tmp_path / "run", seed=3)
    assert report_of(run) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    page = Page((run / "report.html").read_text())
    assert page.cells["td.eval-evolved"] == ["21.5", "43.0"]
    assert page.cells["dd.solved"] == ["in round 2, after 40 training steps"]
    assert [image["class"] for image in page.images] == ["scores", "population", "rooms"]
    assert "swarmsim 0" in page.cells["p.versions"][0]


def test_the_report_of_several_runs_lies_here(in_tmp_path, capsys):
    runs = [a_run(in_tmp_path / f"seed{seed}", seed=seed) for seed in (0, 1)]
    assert report_of(*runs, runs[0]) == 0
    assert capsys.readouterr().out == "report.html\n"
    page = Page((in_tmp_path / "report.html").read_text())
    assert page.cells["td.name"] == ["seed0", "seed1"]
    assert page.cells["td.median"] == ["43.0"]


def test_a_report_is_put_where_one_wants_it(tmp_path, capsys):
    assert report_of(a_run(tmp_path / "run"), "--out", tmp_path / "page.html") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'page.html'}\n"
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert not (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("n_rounds", [0, 1])
def test_a_run_that_still_goes_on_is_reported_as_far_as_it_came(tmp_path, n_rounds):
    run = a_run(tmp_path / "run", n_rounds, ends=False)
    assert report_of(run) == 0
    page = Page((run / "report.html").read_text())
    assert page.cells["dd.n-rounds"] == [f"{n_rounds} of 5"]


def test_a_run_that_failed_is_reported_with_its_failure(tmp_path):
    run = a_run(tmp_path / "run", failures=[FAILURE])
    assert report_of(run) == 0
    (failure,) = Page((run / "report.html").read_text()).cells["details.failure"]
    assert "environment failed: ValueError: it is broken; the run ended with it" in failure
    assert FAILURE["traceback"] in failure


def test_settings_are_changed_beside_those_of_their_preset(tmp_path):
    run = a_run(tmp_path / "run", preset="reference", seed=3, evolution={"mutation_sigma": 0.5}, a2c={"hidden": [8]})
    settings = settings_of(run)
    assert settings.changed == ["population", "env", "preset", "seed", "a2c.hidden", "evolution.mutation_sigma"]
    assert (settings.values["evolution.mutation_sigma"], settings.defaults["evolution.mutation_sigma"]) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: DIR"),
        (["nowhere"], "nowhere: there is no such directory"),
        (["."], ". is no run directory: one has config.yaml, metrics.jsonl and checkpoint/"),
        ([".", "--oot", "x"], "unknown flag '--oot'; did you mean '--out'?"),
    ],
)
def test_what_cannot_be_reported_is_told_in_one_sentence_with_status_2(in_tmp_path, capsys, arguments, sentence):
    assert report_of(*arguments) == 2
    assert capsys.readouterr().err == f"swarmsim: {sentence}\n"


def test_a_report_that_cannot_be_written_is_told_in_one_sentence(tmp_path, capsys):
    run = a_run(tmp_path / "run")
    assert report_of(run, "--out", tmp_path / "nowhere" / "page.html") == 2
    sentence = f"swarmsim: {tmp_path / 'nowhere' / 'page.html'} cannot be written: No such file or directory\n"
    assert capsys.readouterr().err == sentence
