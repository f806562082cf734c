"""Twenty runs in which something is killed, stopped or broken: one for each kind of fault in each component."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT, TIMED, cells


@TIMED
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("link", ["queues", "sockets"])
def test_whatever_is_killed_the_run_goes_on_or_ends_cleanly(tmp_path, link):
    program = [sys.executable, ROOT / "benchmarks" / "chaos.py", "--trials", "20", "--link", link]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Python {sys.version.split()[0]}" in done.stdout
    rows = [cells(line) for line in done.stdout.splitlines() if line.startswith("|")]
    head, total = rows[0], dict(zip(rows[0], rows[-1], strict=True))
    assert head[-3:] == ["hung", "left processes", "lost a checkpoint"]
    assert [total[name] for name in head[-3:]] == ["0", "0", "0"]
    assert int(total["trials"]) == 20
    assert int(total["struck in time"]) >= 10
    assert int(total["completed"]) + int(total["ended cleanly"]) == 20
    assert len(re.findall(r"^\| (models|aggregation|environment|evolution|launcher)", done.stdout, re.MULTILINE)) == 19


@pytest.mark.parametrize("ends", [True, False])
def test_a_run_counts_as_hung_once_it_falls_silent_and_not_as_long_as_it_goes_on(tmp_path, monkeypatch, ends):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import chaos

    (tmp_path / "out").mkdir()
    done, told = tmp_path / "out" / chaos.METRICS, tmp_path / "stderr"
    told.touch()
    signs = [
        lambda: done.write_text('{"round": 1}\n'),
        lambda: told.write_text("replaced\n"),
        lambda: done.write_text('{"round": 1}\n{"round": 2}\n'),
    ]

    class Run:
        def communicate(self, timeout):
            if signs:
                signs.pop(0)()
            elif ends:
                return
            raise subprocess.TimeoutExpired("run.py", timeout)

    assert chaos._ends(Run(), tmp_path) is ends
    assert not signs
