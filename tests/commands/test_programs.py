"""Servers and components as programs of their own, run as a user runs them."""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import pytest

import swarmsim
from swarmsim.cli import main
from swarmsim.messaging.sockets.handshake import SECRET_VARIABLE
from tests.conftest import ROOT

SMALL = {"rounds": 2, "population": 4, "episodes": 3, "seed": 5}
SETTINGS = [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]
SECRET = "a secret of the tests alone"


@contextmanager
def program(*arguments: str, **environment: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "swarmsim", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        for end in (process.stdout, process.stderr):
            end.close()


@contextmanager
def served(*arguments: str, **environment: str):
    """A server, and the flags that lead to it."""
    with program("serve", "--port", "0", *arguments, **environment) as server:
        port = re.search(r"serves 127\.0\.0\.1:(\d+)", server.stdout.readline())[1]
        yield server, ["--port", port]


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@contextmanager
def components(where: list[str], **environment: str):
    """All roles but control, each a program that has joined the swarm."""
    with ExitStack() as stack:
        roles = [
            ["aggregation"],
            ["model", "--models", "0-1"],
            ["model", "--models", "2-3"],
            ["evolution"],
            ["environment"],
        ]
        yield [stack.enter_context(program("component", *role, *where, *SETTINGS, **environment)) for role in roles]


def returns_in(out: str) -> list[str]:
    return re.findall(r"^ +\d+ +([\d.]+ +[\d.]+ +[\d.]+ +\d+)", out, re.MULTILINE)


@pytest.fixture(scope="module")
def main_job() -> list[str]:
    return returns_in(f"\n{swarmsim.run(**SMALL, out=None, link='inprocess', progress=False)}")


def test_programs_started_one_by_one_make_the_very_run_of_the_main_job_again_and_again(main_job):
    with served() as (server, where), components(where) as programs:
        with program("component", "control", *where, *SETTINGS) as control:
            status, out, err = ended(control)
        assert (status, err) == (0, "")
        assert "link sockets" in out
        assert len(main_job) == 2
        assert returns_in(out) == main_job
        with program("component", "control", *where, *SETTINGS, "--rounds", "1") as control:
            assert ended(control)[0] == 0  # the swarm stays, and goes on with what it has learned
        server.send_signal(signal.SIGTERM)
        assert ended(server)[0] == 130
        for component in programs:
            status, _, err = ended(component)
            assert status == 1
            assert "the server has gone" in err


def test_programs_that_share_a_secret_form_a_swarm(main_job, tmp_path):
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    with served("--secret-file", str(tmp_path / "secret")) as (_, where):
        with program("component", "evolution", *where, **{SECRET_VARIABLE: ""}) as stranger:
            status, _, err = ended(stranger)
        assert (status, err.count("\n")) == (1, 1)
        assert "asks for a shared secret, and 'evolution' has none" in err
        with components(where, **{SECRET_VARIABLE: SECRET}):
            flags = ["--secret-file", str(tmp_path / "secret")]
            with program("component", "control", *where, *SETTINGS, *flags) as control:
                status, out, err = ended(control)
        assert status == 0, err
        assert returns_in(out) == main_job


def test_a_component_that_is_interrupted_says_so_and_leaves():
    with served() as (_, where), program("component", "aggregation", *where) as aggregation:
        address = ("127.0.0.1", int(where[1]))
        with swarmsim.Client("onlooker", *address, announce={"COMPONENTS": []}) as onlooker:
            onlooker.await_components("logits", 1, timeout=30)
            aggregation.send_signal(signal.SIGINT)
            status, _, err = ended(aggregation)
            assert (status, err) == (130, "\nswarmsim: aggregation was interrupted\n")
            while onlooker.components_in("logits"):
                onlooker.receive(timeout=30)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["serve", "--prot", "1"], "unknown flag '--prot'; did you mean '--port'"),
        (["serve", "--port", "70000"], "--port must be a whole number from 0 to 65535, not '70000'"),
        (
            ["serve", "--server", "0.0.0.0", "--port", "0"],
            "0.0.0.0 can be reached from other machines: set a shared secret",
        ),
        (["serve", "--secret-file", "missing"], "--secret-file: missing cannot be read"),
        (["serve", "now"], "what is 'now'?"),
        (["component"], "the following arguments are required: ROLE"),
        (["component", "modell"], "unknown role 'modell'; known: aggregation, control, environment, evolution, model"),
        (
            ["component", "model", "--models", "3-30"],
            "--models must be two numbers of the population of 20, such as 0-19",
        ),
        (
            ["component", "evolution", "--models", "1"],
            "--models says which models a process holds; evolution holds none",
        ),
        (["component", "model", "--population", "0"], "--population must be at least 1, got 0"),
        (["component", "environment", "--env", "CartPoole-v1"], "unknown environment 'CartPoole-v1'; did you mean"),
    ],
)
def test_a_wrong_flag_is_told_in_one_sentence_with_status_2(in_tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_secret_that_is_too_short_is_refused(tmp_path, capsys):
    (tmp_path / "secret").write_text("short")
    assert main(["serve", "--port", "0", "--secret-file", str(tmp_path / "secret")]) == 2
    assert "a shared secret has at least 16 characters, not 5" in capsys.readouterr().err


def test_a_component_without_a_server_says_where_it_looked_for_it():
    with program("component", "evolution", "--port", "1") as lost:
        status, out, err = ended(lost)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "no swarm runs at 127.0.0.1:1 (Connection refused): start its Server first" in err
