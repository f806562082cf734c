"""The pages are true: their code runs by the rules of tests/page_runner.py, and these rules find mistakes."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swarmsim import MESSAGE_TYPE, Client, Swarm
from swarmsim.messaging.message import MessageType
from tests.conftest import ROOT, long_after
from tests.page_runner import LEFT_TO_CI, free_port, lines_of, shorter
from tests.pages import PAGES, blocks, name_of
from tests.test_layers import LAYERS

SECONDS = 280
README = (ROOT / "README.md").read_text()


def run_page(page: Path) -> tuple[int, str]:
    """Run a page in a process of its own; return its exit status and its stderr."""
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONBREAKPOINT": "0",  # breakpoint() does nothing
    }
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.page_runner", page],
        env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        _, errors = program.communicate(timeout=SECONDS)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
    return program.returncode, errors


# These make whole runs, by commands that tests/test_cli.py, tests/commands and tests/test_examples.py run too.
LONG = {"README.md", "docs/export.md", "docs/howto.md", "docs/sockets.md", "docs/tutorial.md"}
LONG |= {f"examples/{name}/README.md" for name in ("custom_component", "lunar_lander", "rlgym")}
SHORT = [page for page in PAGES if name_of(page) not in LONG | {"CONTRIBUTING.md"}]


@pytest.mark.parametrize(
    "page", long_after(len(SHORT), [*SHORT, *(page for page in PAGES if name_of(page) in LONG)]), ids=name_of
)
def test_all_code_of_a_page_runs(page):
    status, errors = run_page(page)
    assert status == 0, errors


@pytest.mark.parametrize(
    ("block", "sentence"),
    long_after(
        3,
        [
            ("```python\nassert 1 == 2\n```", 'page.md", line 4'),
            ("```python\nprint(1)\n```\n\n```text\n2\n```", "page.md:8: the output is\n1"),
            ("```sh\necho fine\nswarmsim --round 5\n```", "page.md:5: swarmsim --round 5"),
            (
                "```sh\npython benchmarks/learning.py --no-such-flag\n```",
                "page.md:4: python benchmarks/learning.py --help",
            ),
            ("```yaml\nround: 5\n```", "unknown key 'round'"),
            ("```julia\nx\n```", "page.md:4: blocks of julia cannot be run"),
            (
                "```sh\nswarmsim serve --port 8080\nswarmsim component modle --port 8080\n```",
                "page.md:5: swarmsim component",
            ),
        ],
    ),
)
def test_a_mistake_in_a_page_is_found_with_its_line(tmp_path, block, sentence):
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{block}\n")
    status, errors = run_page(page)
    assert status != 0
    assert sentence in errors


def test_long_runs_are_shortened():
    assert shorter("python run.py --rounds 5").endswith("--rounds 1 --population 3 --episodes 2 --eval-episodes 1")
    assert shorter("swarmsim --resume runs/a --rounds 10") == "swarmsim --resume runs/a --rounds 2"
    assert shorter("swarmsim report runs/a") == "swarmsim report runs/a"


def test_ci_or_a_test_of_its_own_runs_the_commands_of_the_contributing_page():
    page = (ROOT / "CONTRIBUTING.md").read_text()
    before_the_first_change = page[: page.index("## A first change")]
    lines = [line for block in blocks(before_the_first_change) for _, line in lines_of(block)]
    assert lines
    assert all(LEFT_TO_CI.search(part) for line in lines for part in line.split(" && "))


# --- the README


def test_the_first_screen_holds_the_two_commands():
    first_screen = README[: README.index("## ")]
    commands = [block.text.strip() for block in blocks(first_screen) if block.language == "sh"]
    assert [command.split("&& ")[-1] for command in commands] == [
        ".venv/bin/python run.py --rounds 5 --population 20",
        ".venv/bin/python -m pytest",
    ]


def test_ci_calls_the_readmes_test_command_and_then_the_tests_that_it_leaves_out():
    ci = (ROOT / ".ci" / "run").read_text()
    readmes, long = ci.splitlines()[-2:]
    assert "grep -m 1 -e '-m pytest$' README.md" in readmes
    assert long == ".venv/bin/python -m pytest -m long"
    assert '-m "not long"' in (ROOT / "pyproject.toml").read_text()


def test_the_readmes_component_greets(tmp_path):
    (component,) = [block.text for block in blocks(README) if "def greet" in block.text]
    port = free_port()
    (tmp_path / "greeter.py").write_text(component.replace("8080", str(port)))
    (tmp_path / "server.py").write_text(f"from swarmsim import Server\nServer('127.0.0.1', {port}).start()")
    with Swarm(None) as swarm:
        for name in ("server", "greeter"):
            swarm.add(name, tmp_path / f"{name}.py")
        swarm.start()
        with Client("ann", "127.0.0.1", port) as ann:
            ann.join_room("hall")
            ann.send({"TYPE": MESSAGE_TYPE.DATA.TEXT.id, "TO_ROOM": "hall", "DATA": "hi"})
            assert ann.receive(timeout=10)["DATA"] == "hello, ann"


# --- pages that repeat what is in the code


def test_the_reference_of_all_public_names_is_up_to_date():
    write = "import runpy, sys; sys.stdout.write(runpy.run_path('docs/make_api.py')['reference']())"
    done = subprocess.run(
        [sys.executable, "-c", write], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == (ROOT / "docs" / "api.md").read_text(), "run python docs/make_api.py to write it again"


def test_the_page_on_design_lists_the_layers():
    page = (ROOT / "docs" / "design.md").read_text()
    section = page[page.index("## Layers") : page.index("## Four walks")]
    items = re.findall(r"^\d+\. ((?:`[\w.]+`(?:, )?)+): ", section, flags=re.MULTILINE)
    assert [re.findall(r"`([\w.]+)`", item) for item in items] == LAYERS


def test_the_walks_through_the_code_pass_no_more_files_than_they_promise_and_name_what_is_there():
    page = (ROOT / "docs" / "design.md").read_text()
    walks = re.findall(r"^### [^\n]*: at most (\d+) files\n(.*?)(?=^##)", page, flags=re.MULTILINE | re.DOTALL)
    assert [int(most) for most, _ in walks] == [8, 6, 4, 5]
    for most, walk in walks:
        stops = re.findall(r"^\d+\. `([\w/]+\.py)`: `(\w+)`", walk, flags=re.MULTILINE)
        assert 1 < len({file for file, _ in stops}) <= int(most)
        for file, name in stops:
            text = (ROOT / "swarmsim" / file).read_text()
            assert re.search(rf"^ *(?:def|class) {name}\b", text, flags=re.MULTILINE), f"{file} has no {name}"


def test_the_page_on_the_protocol_lists_all_types_with_their_fields():
    page = (ROOT / "docs" / "protocol.md").read_text()
    for kind in ("DATA", "COMMAND", "LOG"):
        (row,) = re.findall(rf"^\| `{kind}`: .*$", page, flags=re.MULTILINE)
        for name, message_type in vars(getattr(MESSAGE_TYPE, kind)).items():
            if isinstance(message_type, MessageType):
                part = next(
                    part for part in row.split(" · ") if f"`{name}`" in part.partition(":")[2] or f"`{name}`" in part
                )
                fields = (*message_type.required_fields, *message_type.optional_fields)
                assert all(f"`{field}`" in part for field in fields), f"{kind}/{name}"
