"""Servers and components as separate programs, run as a user runs them."""

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

SMALL = {"rounds": 2, "population": 4, "episodes": 3, "seed": 5, "preset": "reference"}
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
    """Run a server; yield its process and the flags that connect to it."""
    with program("serve", "--port", "0", *arguments, **environment) as server:
        port = re.search(r"serves 127\.0\.0\.1:(\d+)", server.stdout.readline())[1]
        yield server, ["--port", port]


def wait_for_exit(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@contextmanager
def components(server_flags: list[str], **environment: str):
    """Run every component except control, each as a program."""
    with ExitStack() as stack:
        roles = [
            ["aggregation"],
            ["model", "--models", "0-1"],
            ["model", "--models", "2-3"],
            ["evolution"],
            ["environment"],
        ]
        yield [
            stack.enter_context(program("component", *role, *server_flags, *SETTINGS, **environment)) for role in roles
        ]


def returns_in(out: str) -> list[str]:
    return re.findall(r"^ +\d+ +([\d.]+ +[\d.]+ +[\d.]+ +\d+)", out, re.MULTILINE)


@pytest.fixture(scope="module")
def main_job() -> list[str]:
    return returns_in(f"\n{swarmsim.run(**SMALL, out=None, link='inprocess', progress=False)}")


def test_separate_programs_give_the_returns_of_the_main_job_and_serve_the_next_control(main_job):
    with served() as (server, server_flags), components(server_flags) as programs:
        with program("component", "control", *server_flags, *SETTINGS) as control:
            status, out, err = wait_for_exit(control)
        assert (status, err) == (0, "")
        assert "link sockets" in out
        assert len(main_job) == 2
        assert returns_in(out) == main_job
        with program("component", "control", *server_flags, *SETTINGS, "--rounds", "1") as control:
            assert wait_for_exit(control)[0] == 0  # the swarm continues with its trained models
        server.send_signal(signal.SIGTERM)
        assert wait_for_exit(server)[0] == 130
        for component in programs:
            status, _, err = wait_for_exit(component)
            assert status == 1
            assert "the server has gone" in err


@pytest.mark.long
def test_programs_with_the_same_secret_form_a_swarm(main_job, tmp_path):
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    with served("--secret-file", str(tmp_path / "secret")) as (_, server_flags):
        with program("component", "evolution", *server_flags, **{SECRET_VARIABLE: ""}) as unauthenticated:
            status, _, err = wait_for_exit(unauthenticated)
        assert (status, err.count("\n")) == (1, 1)
        assert "asks for a shared secret, and 'evolution' has none" in err
        with components(server_flags, **{SECRET_VARIABLE: SECRET}):
            flags = ["--secret-file", str(tmp_path / "secret")]
            with program("component", "control", *server_flags, *SETTINGS, *flags) as control:
                status, out, err = wait_for_exit(control)
        assert status == 0, err
        assert returns_in(out) == main_job


def test_an_interrupted_component_reports_it_and_disconnects():
    with served() as (_, server_flags), program("component", "aggregation", *server_flags) as aggregation:
        address = ("127.0.0.1", int(server_flags[1]))
        with swarmsim.Client("observer", *address, announce={"COMPONENTS": []}) as observer:
            observer.await_components("logits", 1, timeout=30)
            aggregation.send_signal(signal.SIGINT)
            status, _, err = wait_for_exit(aggregation)
            assert (status, err) == (130, "\nswarmsim: aggregation was interrupted\n")
            while observer.components_in("logits"):
                observer.receive(timeout=30)


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
        (["serve", "now"], "unexpected argument 'now'"),
        (["component"], "the following arguments are required: ROLE"),
        (["component", "modell"], "unknown role 'modell'; known: aggregation, control, environment, evolution, model"),
        (
            ["component", "model", "--models", "3-30"],
            "--models must be two numbers of the population of 20, such as 0-19",
        ),
        (
            ["component", "evolution", "--models", "1"],
            "--models is a flag of the role model; evolution runs no models",
        ),
        (["component", "model", "--population", "0"], "--population must be at least 1, got 0"),
        (["component", "environment", "--env", "CartPoole-v1"], "unknown environment 'CartPoole-v1'; did you mean"),
    ],
)
def test_an_invalid_flag_is_reported_in_one_sentence_with_status_2(
    in_tmp_path, capsys, monkeypatch, arguments, sentence
):
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


def test_a_component_without_a_server_reports_the_address():
    with program("component", "evolution", "--port", "1") as component:
        status, out, err = wait_for_exit(component)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "no swarm runs at 127.0.0.1:1 (Connection refused): start its Server first" in err
