"""A newcomer's first change works as CONTRIBUTING.md describes it: one file, one test, one line of swarm.yaml."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
WALK = PAGE[PAGE.index("## A first change") :]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", WALK, flags=re.DOTALL)


def named(language: str) -> dict[str, str]:
    """Return the page's files of a language, by the path in their first line."""
    found = (text.partition("\n") for kind, text in BLOCKS if kind == language)
    return {line.removeprefix("# "): text for line, _, text in found}


@pytest.mark.long
def test_the_first_change_takes_one_file_one_test_and_one_line(tmp_path):
    for name in ("swarmsim", "tests", "run.py", "swarm.yaml", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    (file, test), ((settings, line),) = named("python").items(), named("yaml").items()
    for path, text in (file, test):
        assert not (tmp_path / path).exists()
        (tmp_path / path).write_text(text)
    ((key, value),) = yaml.safe_load(line).items()
    before = (tmp_path / settings).read_text()
    after = re.sub(rf"^{key}: \w+", f"{key}: {value}", before, flags=re.MULTILINE)
    assert len(set(before.splitlines()) - set(after.splitlines())) == 1
    (tmp_path / settings).write_text(after)

    tests, run = (text.strip() for kind, text in BLOCKS if kind == "sh")
    small = {"--rounds 5 --population 20": "--rounds 1 --population 3 --episodes 2 --out out"}
    for command in (tests, *(run.replace(long, short) for long, short in small.items())):
        program, *arguments = command.split()
        assert program == ".venv/bin/python"
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTEST_ADDOPTS": "-n 0"},  # two more processes than one would take longer
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert config["aggregation"] == "maximum"
    for tool in (["ruff", "check"], ["ruff", "format", "--check"]):
        checked = subprocess.run([sys.executable, "-m", *tool, file[0], test[0]], cwd=tmp_path, check=False)
        assert checked.returncode == 0
    assert "maximum" in test[1]


def test_the_places_that_it_names_are_there():
    table = PAGE[PAGE.index("## Where each") : PAGE.index("## A first change")]
    for path in re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", table):
        assert any((ROOT / above / path).exists() for above in ("", "swarmsim")), path
