"""What the README says is run."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_first_screen_holds_the_two_commands():
    first_screen = README[: README.index("## ")]
    commands = re.findall(r"```sh\n(.*?)\n```", first_screen, flags=re.DOTALL)
    assert [command.split("&& ")[-1] for command in commands] == [
        ".venv/bin/python run.py --rounds 5 --population 20",
        ".venv/bin/python -m pytest",
    ]


def test_ci_calls_the_readmes_test_command():
    assert "grep -m 1 -e '-m pytest$' README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_program_runs(tmp_path):
    (program,) = [block for block in PYTHON_BLOCKS if "swarmsim.run(" in block]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("round")


def test_the_component_greets(tmp_path):
    from swarmsim import MESSAGE_TYPE, Client, Swarm

    (component,) = [block for block in PYTHON_BLOCKS if "def greet" in block]
    (tmp_path / "greeter.py").write_text(component.replace("8080", "8077"))
    (tmp_path / "server.py").write_text("from swarmsim import Server\nServer('127.0.0.1', 8077).start()")
    with Swarm(None) as swarm:
        for name in ("server", "greeter"):
            swarm.add(name, tmp_path / f"{name}.py")
        swarm.start()
        with Client("ann", "127.0.0.1", 8077) as ann:
            ann.join_room("hall")
            ann.send({"TYPE": MESSAGE_TYPE.DATA.TEXT.id, "TO_ROOM": "hall", "DATA": "hi"})
            assert ann.receive(timeout=10)["DATA"] == "hello, ann"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", README))))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:[a-z]+/)?\w+\.py)", RELIABILITY))))
def test_the_files_that_the_page_on_reliability_names_are_there(path):
    assert (ROOT / "tests" / path).exists() or (ROOT / path).exists()


@pytest.mark.parametrize("part", sorted(set(re.findall(r"`(?:test_|…)(\w+)…?`", RELIABILITY))))
def test_the_tests_that_the_page_on_reliability_names_are_there(part):
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert re.search(rf"def test_\w*{part}", tests)


SOCKETS = (ROOT / "docs" / "sockets.md").read_text()


def test_the_program_of_the_page_on_sockets_runs():
    (program,) = re.findall(r"```python\n(.*?)```", SOCKETS, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "['ann']\n", "")


@pytest.mark.parametrize("command", re.findall(r"^swarmsim (.*)$", README + SOCKETS, flags=re.MULTILINE))
def test_the_commands_for_several_programs_are_such(command):
    from swarmsim.commands.programs import make_component_parser, make_serve_parser

    program, *flags = command.split()
    {"serve": make_serve_parser, "component": make_component_parser}[program]().parsed(flags)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)`", SOCKETS))))
def test_the_files_that_the_page_on_sockets_names_are_there(path):
    assert (ROOT / path).exists()
