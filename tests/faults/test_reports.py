"""Pictures, texts and reports of runs, whatever the environment, the scores, the folders and the machine are."""

import json
import subprocess
import sys

import pytest
import yaml

from swarmsim.cli import main
from swarmsim.names import format_score
from swarmsim.results import html_report
from swarmsim.results.history import History
from swarmsim.results.html import rounds_table
from swarmsim.results.machine import DECISIVE, differing_machines, machine
from swarmsim.results.pictures import curves
from swarmsim.results.run_directory import read_versions
from swarmsim.views.terminal import short_score
from tests.commands.runs import FAILURE, a_run
from tests.conftest import environ, long_after
from tests.results.rounds import SETTINGS, a_round
from tests.results.test_html_report import Page

# --- pictures

PLOT = "import sys, swarmsim.cli; print(swarmsim.cli.main(['plot', 'run']), 'matplotlib.pyplot' in sys.modules)"
NOTEBOOK = (
    "import os, swarmsim.results.pictures, matplotlib as m; print(m.rcParams['backend'], os.environ['MPLBACKEND'])"
)
BROKEN = [
    {"MPLBACKEND": "nonsense", "MPLCONFIGDIR": "/proc/nothing"},
    {"MPLBACKEND": "module://nothing.here"},
    {"MPLBACKEND": "tkagg", "DISPLAY": ""},
    {"MPLBACKEND": ",", "HOME": "/proc/nothing", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""},
]


def output_of(code: str, **variables: str) -> tuple[str, str]:
    """Return what a program prints on stdout and stderr."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environ(**variables), capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


@pytest.mark.parametrize("broken", long_after(1, BROKEN))
def test_pictures_are_drawn_without_a_word_whatever_the_environment_names(in_tmp_path, broken):
    a_run(in_tmp_path / "run", ends=False)
    (in_tmp_path / "matplotlibrc").write_text("text.usetex: True")
    out, err = output_of(PLOT, **broken)
    assert (out.splitlines(), err) == (["run/scores.png", "run/population.png", "0 False"], "")


def test_a_notebooks_own_backend_stays_in_effect():
    assert output_of(NOTEBOOK, MPLBACKEND="svg")[0] == "svg svg\n"


# --- scores

SCORES = {0.0: "0.0", 401: "401.0", 146.44: "146.4", -0.0012344: "-0.001234", 1e-6: "1e-06", 3e12: "3e+12"}


@pytest.mark.parametrize("score", SCORES)
def test_small_and_huge_scores_are_told_with_enough_digits(score):
    text = SCORES[score]
    history = History(SETTINGS, rounds=[a_round(1, eval_score_evolved=float(score))])
    assert format_score(score) == text
    assert f" {text} " in str(history)
    assert rounds_table(history).rows[0][3] == text
    assert short_score(score) == text.removesuffix(".0")


# --- reports of many

DAMAGES = {
    "is no run directory": lambda run: (run / "config.yaml").unlink(),
    "expected the node content": lambda run: (run / "config.yaml").write_text("a: ["),
    "it holds no seed": lambda run: (run / "config.yaml").write_text("env: X-v0"),
    "line 1 is no round": lambda run: (run / "metrics.jsonl").write_text('{"round": 1}\n'),
    "line 2 is no round": lambda run: _change_line(run / "metrics.jsonl", eval_score="much"),
    "unknown preset": lambda run: (run / "config.yaml").write_text(yaml.safe_dump({**SETTINGS, "preset": "defalt"})),
    "is no summary": lambda run: (run / "summary.json").write_text(json.dumps({"failures": [{"round": 1}]})),
    "it is no summary": lambda run: (run / "summary.json").write_text(json.dumps({"messages": {"a": {"b": 1}}})),
}


def _change_line(metrics, **values) -> None:
    first, second = metrics.read_text().splitlines()
    metrics.write_text(f"{first}\n{json.dumps(json.loads(second) | values)}\n")


def test_a_report_leaves_out_what_is_no_run_or_damaged_with_a_line_for_each(in_tmp_path, capsys):
    a_run(in_tmp_path / "whole", ends=False, failures=[FAILURE])
    (in_tmp_path / "notes.txt").touch()
    for number, (reason, damage) in enumerate(DAMAGES.items()):
        run = a_run(in_tmp_path / f"damaged{number}", ends=False)
        if "summary" not in reason:
            (run / "summary.json").unlink()  # which has some of the settings, too
        damage(run)
    assert main(["report", *sorted(path.name for path in in_tmp_path.iterdir())]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(DAMAGES) + 1
    assert all(line.endswith("; it is left out") for line in lines)
    for number, reason in enumerate(DAMAGES):
        assert f"damaged{number}" in lines[number]
        assert reason in lines[number]
    assert (in_tmp_path / "report.html").read_text().count('<section class="run"') == 1


def test_a_report_of_nothing_but_other_folders_says_so(in_tmp_path, capsys):
    for name in ("a", "b"):
        (in_tmp_path / name).mkdir()
    assert main(["report", "a", "b"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "swarmsim: none of the 2 can be reported"


def test_a_mistyped_directory_among_several_is_refused(in_tmp_path, capsys):
    a_run(in_tmp_path / "run", ends=False)
    assert main(["report", "run", "rnu"]) == 2
    assert capsys.readouterr().err == "swarmsim: rnu: there is no such directory\n"


def test_a_report_of_very_many_runs_draws_none_by_itself_and_says_where_to_see_it(in_tmp_path, monkeypatch):
    monkeypatch.setattr(html_report, "MOST_DRAWN", 2)
    for number in range(3):
        a_run(in_tmp_path / f"run{number}", 1, ends=False, seed=number)
    assert main(["report", "run0", "run1", "run2"]) == 0
    page = Page((in_tmp_path / "report.html").read_text())
    assert [image["class"] for image in page.images] == ["curves"]
    assert [text.split()[-3] for text in page.cells["p.not-drawn"]] == ["run0", "run1", "run2"]


def test_a_legend_of_very_many_groups_stays_of_a_size_that_can_be_drawn():
    groups = {f"group {number}": [History(SETTINGS, rounds=[a_round(1)])] for number in range(300)}
    picture = curves("X-v0", groups)
    assert picture.get_size_inches()[1] < 15
    (legend,) = picture.legends
    assert len(legend.get_texts()) == 40
    assert len(picture.axes[0].get_lines()) == 300


# --- kinds of machines


def test_a_run_records_its_kind_of_machine(tmp_path):
    versions = read_versions(a_run(tmp_path / "run", 0, ends=False))
    assert versions == versions | machine()
    assert all(versions[kind] for kind in DECISIVE)


def test_runs_of_different_kinds_of_machines_are_told_apart():
    here = {"numpy": "2.4", "blas": "openblas 0.3 Haswell"}
    there = {"numpy": "2.4", "blas": "openblas 0.3 SkylakeX", "cpu": "A"}
    assert differing_machines([here, there]) == "blas: openblas 0.3 Haswell and openblas 0.3 SkylakeX"
    assert differing_machines([here, here, {}]) == ""


def test_a_run_that_goes_on_and_a_comparison_say_where_the_machines_differ(copied_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(html_report, "MOST_DRAWN", 0)
    config = yaml.safe_load((copied_run / "config.yaml").read_text())
    config["versions"]["blas"] = "another 1.0"
    (copied_run / "config.yaml").write_text(yaml.safe_dump(config))
    difference = f"blas: another 1.0 and {machine()['blas']}"
    assert main(["--resume", str(copied_run), "--no-progress"]) == 0
    assert f"its scores may differ here: {difference}\n" in capsys.readouterr().err
    other = a_run(tmp_path / "other", 1, ends=False)
    assert main(["report", str(copied_run), str(other), "--out", str(tmp_path / "page.html")]) == 0
    (line,) = Page((tmp_path / "page.html").read_text()).cells["p.machines"]
    assert difference in line


def test_the_kernel_of_the_blas_is_recorded():
    if not machine()["blas"].startswith("openblas"):
        pytest.skip("numpy's BLAS here has no choice of kernels")
    code = "from swarmsim.results.machine import machine; print(machine()['blas'])"
    assert output_of(code, OPENBLAS_CORETYPE="Haswell")[0].endswith(" Haswell\n")
