"""Components of the user's: started, watched, stopped, and what their failures look like."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarmsim import MESSAGE_TYPE, Client, ComponentFailed, LinkClosed, SettingsError, Swarm
from swarmsim.launcher import swarm as swarm_module
from tests.conftest import ROOT, TIMED, child_processes

SERVER = "from swarmsim import Server; Server('tests', 11).start()"
ECHO = """
import sys
from swarmsim import Client, MESSAGE_TYPE, Trigger
CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
client = Client(sys.argv[1], "tests", 11)
client.add_eventHandler(lambda m: {"TO": m["SENT_BY"], "N": m["N"] + 1}, CUSTOM, trigger=Trigger(CUSTOM, "hall"))
client.listen()
"""
ASK = {"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "TO_ROOM": "hall", "N": 1}


@pytest.fixture
def script(tmp_path):
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


@pytest.fixture(params=["queues", "inprocess"])
def swarm(request, script):
    with Swarm(None, link=request.param) as swarm:
        swarm.add("server", script("server.py", SERVER), terminal=False)
        yield swarm


@pytest.fixture
def forked(script):
    with Swarm(None) as swarm:
        swarm.add("server", script("server.py", SERVER), terminal=False)
        yield swarm


def answer(client: Client) -> dict:
    while True:
        message = client.receive(timeout=10)
        if "N" in message:
            return message


def test_start_returns_when_a_component_has_joined_its_rooms(swarm, script):
    swarm.add("echo", script("echo.py", ECHO))
    swarm.start()
    with Client("ann", "tests", 11) as ann:
        assert ann.components_in("hall") == ["echo"]
        ann.send(ASK)
        assert answer(ann)["N"] == 2


def test_one_file_can_be_many_components_added_while_the_others_run(swarm, script):
    swarm.start()
    path = script("echo.py", ECHO)
    for i in range(5):
        swarm.add(f"echo{i}", path, terminal=False)
        swarm.start(f"echo{i}")
    with Client("ann", "tests", 11) as ann:
        ann.send(ASK)
        assert sorted(answer(ann)["SENT_BY"] for _ in range(5)) == [f"echo{i}" for i in range(5)]


def test_a_stopped_component_tells_the_others_and_can_be_started_again(swarm, script):
    swarm.add("echo", script("echo.py", ECHO))
    swarm.start()
    with Client("ann", "tests", 11) as ann:
        swarm.stop("echo")
        assert ann.components_in("hall") == []
        assert ann.receive(timeout=5)["TYPE"] == "COMMAND/DISCONNECT"
        swarm.start("echo")
        ann.send(ASK)
        assert answer(ann)["N"] == 2


def test_each_forked_component_is_a_process_of_its_own_and_stop_leaves_none(forked, script):
    forked.add("echo", script("echo.py", ECHO))
    forked.start()
    assert len(child_processes()) == 2
    forked.stop()
    forked.stop()
    assert child_processes() == []


def test_a_config_file_names_the_components_and_paths_are_seen_from_its_folder(script, tmp_path, monkeypatch):
    script("server.py", SERVER)
    script("echo.py", ECHO)
    config = script(
        "swarm.yaml",
        """
settings: {python_cmd: python, julia_envpath: .}
components:
  server: {filepath: server.py, delay: 0.05}
  echo: {filepath: echo.py}
""",
    )
    with Swarm(config) as swarm:
        swarm.start()
        with Client("ann", "tests", 11) as ann:
            assert ann.components_in("hall") == ["echo"]
    monkeypatch.chdir(tmp_path)
    assert list(Swarm().components) == ["server", "echo"]


def test_a_script_can_have_a_python_of_its_own(forked, script):
    forked.start()
    forked.add(
        "echo", script("echo.py", ECHO), python_cmd=Path(sys.executable).name, envpath=f"{Path(sys.executable).parent}/"
    )
    forked.start("echo")
    with Client("ann", "tests", 11) as ann:
        ann.send(ASK)
        assert answer(ann)["N"] == 2
    forked.stop()
    assert child_processes() == []


def test_a_script_with_a_python_of_its_own_finds_this_package_first(forked, script):
    forked.start()
    check = f"import os; assert os.environ['PYTHONPATH'].split(os.pathsep)[0] == {str(ROOT)!r}"
    forked.add("echo", script("echo.py", check + ECHO), python_cmd=sys.executable)
    forked.start("echo")


def test_a_python_that_is_not_there_is_told(forked, script):
    forked.start()
    forked.add("echo", script("echo.py", ECHO), python_cmd="python99")
    with pytest.raises(ComponentFailed, match="component 'echo' failed: FileNotFoundError: .*'python99'"):
        forked.start("echo")


def test_a_script_can_have_a_terminal_of_its_own(forked, script):
    forked.start()
    forked.add("echo", script("echo.py", ECHO), terminal="env A=B")
    forked.start("echo")
    with Client("ann", "tests", 11) as ann:
        assert ann.components_in("hall") == ["echo"]


def test_spawned_components_work_as_forked_ones(script):
    with Swarm(None, start_method="spawn") as swarm:
        swarm.add("server", script("server.py", SERVER))
        swarm.add("echo", script("echo.py", ECHO))
        swarm.start()
        with Client("ann", "tests", 11) as ann:
            ann.send(ASK)
            assert answer(ann)["N"] == 2


# --- what is wrong with it


def test_a_file_that_is_missing_or_no_python_is_told_when_it_is_added(swarm, script):
    with pytest.raises(SettingsError, match=r"component 'x': there is no file .*nothing\.py"):
        swarm.add("x", "nothing.py")
    with pytest.raises(SettingsError, match=r"model\.jl is not a Python file"):
        swarm.add("x", script("model.jl", ""))
    with pytest.raises(SettingsError, match="this swarm already has a component 'server'"):
        swarm.add("server", script("server.py", SERVER))
    with pytest.raises(SettingsError, match="terminal=True needs the setting terminal_cmd"):
        swarm.add("x", script("x.py", ECHO), terminal=True)


def test_an_unknown_component_is_told_with_the_nearest_and_a_running_one_is_not_started_twice(swarm):
    with pytest.raises(SettingsError, match="unknown component 'sever'; known: server; did you mean 'server'"):
        swarm.start("sever")
    swarm.start()
    with pytest.raises(SettingsError, match="component 'server' is already running"):
        swarm.start("server")
    swarm.start()


@pytest.mark.parametrize(
    ("text", "sentence", "in_traceback"),
    [
        ("def broken(:", "component 'bad' failed: SyntaxError", "def broken(:"),
        ("x = 1 / 0", "component 'bad' failed: ZeroDivisionError: division by zero", "x = 1 / 0"),
        ("import sys; sys.exit('no luck')", "component 'bad' failed: SystemExit: no luck", "sys.exit"),
        ("x = 1", "component 'bad' failed: ProcessEnded: .*ended .*before it waited for a message", ""),
        ("import sys; sys.exit(0)", "component 'bad' failed: ", ""),
        (
            "from swarmsim import Client; Client('bad', 'tests', 10)",
            "AddressError: no swarm runs at tests:10",
            "Client(",
        ),
    ],
)
def test_a_script_that_fails_at_its_start_is_named_with_its_traceback(swarm, script, text, sentence, in_traceback):
    swarm.start()
    swarm.add("bad", script("bad.py", text))
    with pytest.raises(ComponentFailed, match=sentence) as caught:
        swarm.start("bad")
    assert in_traceback in caught.value.traceback_text
    assert caught.value.component == "bad"


RAISING = ECHO.replace('m["N"] + 1', 'm["N"] / 0')


def test_a_handler_that_raises_ends_the_wait_of_the_launcher(swarm, script):
    swarm.add("bad", script("bad.py", RAISING))
    swarm.start()
    with Client("ann", "tests", 11) as ann:
        ann.send(ASK)
        with pytest.raises(ComponentFailed, match="component 'bad' failed: ZeroDivisionError") as caught:
            answer(ann)
        assert 'm["N"] / 0' in caught.value.traceback_text
        assert any("In component 'bad'" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ('{"TO_ROOM": "nowhere"}', "MessageError: unknown room 'nowhere'"),
        ('{"TO": "nobody"}', "MessageError: unknown component 'nobody'"),
        ('{"TO": m["SENT_BY"], "X": object()}', "MessageError: the value of X cannot be sent"),
        ("5", "MessageError: a handler returns a dict or None, not int"),
    ],
)
def test_a_handler_with_a_wrong_answer_is_named(swarm, script, wrong, sentence):
    swarm.add("bad", script("bad.py", ECHO.replace('{"TO": m["SENT_BY"], "N": m["N"] + 1}', wrong)))
    swarm.start()
    with Client("ann", "tests", 11) as ann:
        ann.send(ASK)
        with pytest.raises(ComponentFailed, match=f"component 'bad' failed: {sentence}"):
            answer(ann)


EXITING = ECHO.replace("lambda m:", "lambda m: __import__('os')._exit(0) or")


def test_a_component_that_exits_without_a_word_is_told(forked, script):
    forked.add("bad", script("bad.py", EXITING))
    forked.start()
    with Client("ann", "tests", 11) as ann:
        ann.send(ASK)
        with pytest.raises(
            ComponentFailed, match="'bad' failed: ProcessEnded: its process ended with status 0 without leaving"
        ):
            answer(ann)


def test_a_component_that_is_killed_is_told_by_the_signals_name(forked, script):
    forked.add("victim", script("echo.py", ECHO))
    forked.start()
    with Client("ann", "tests", 11) as ann:
        forked.components["victim"].process.kill()
        with pytest.raises(ComponentFailed, match="'victim' failed: ProcessEnded: its process was killed by SIGKILL"):
            answer(ann)


def test_a_script_that_closes_its_clients_and_ends_has_not_failed(forked, script):
    once = (
        "from swarmsim import Client\nwith Client('once', 'tests', 11) as c:\n    c.join_room('hall')\n    c.receive(5)"
    )
    forked.add("once", script("once.py", once))
    forked.start()
    with Client("ann", "tests", 11) as ann:
        ann.await_components("hall", 0, timeout=5)
        deadline = time.monotonic() + 10
        while forked.components["once"].state != "left" and time.monotonic() < deadline:
            with pytest.raises(Exception, match="waited"):
                ann.receive(timeout=0.05) and ann.receive(timeout=0.05) and ann.receive(timeout=0.05)
        assert forked.components["once"].state == "left"
        assert ann.components_in("hall") == []


STUBBORN = """
import signal, time
from swarmsim import Client
signal.signal(signal.SIGTERM, signal.SIG_IGN)
client = Client("stubborn", "tests", 11)
client._endpoint.listen = lambda handle: [time.sleep(0.1) for _ in range(10_000)]
client.listen()
"""


@TIMED
def test_a_component_that_does_not_stop_is_killed_within_a_bound(forked, script, monkeypatch):
    monkeypatch.setattr(swarm_module, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(swarm_module, "TERMINATE_SECONDS", 0.2)
    forked.add("stubborn", script("stubborn.py", STUBBORN))
    forked.start()
    began = time.monotonic()
    forked.stop()
    assert time.monotonic() - began < 10
    assert child_processes() == []


NEVER_READY = "import time\nwhile True: time.sleep(1)"


@TIMED
def test_a_component_that_never_waits_for_a_message_is_told_after_a_bound(forked, script, monkeypatch):
    monkeypatch.setattr(swarm_module, "STOP_SECONDS", 0.2)
    forked.start()
    forked.start_timeout = 0.3
    forked.add("never", script("never.py", NEVER_READY))
    with pytest.raises(ComponentFailed, match=r"waited 0.3 s for component 'never' .*the setting start_timeout"):
        forked.start("never")


LAUNCHER = """
import os, sys, time
from swarmsim import Swarm
swarm = Swarm(None)
swarm.add("server", sys.argv[1])
swarm.add("echo", sys.argv[2])
swarm.start()
print(*(c.process.pid for c in swarm.components.values()), flush=True)
if sys.argv[3] == "die":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["die", "end"])
def test_components_leave_when_their_launcher_is_gone(script, how):
    paths = script("server.py", SERVER), script("echo.py", ECHO), script("launcher.py", LAUNCHER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, paths[2], paths[0], paths[1], how]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=30, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() and not _is_zombie(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if how == "end":
        assert done.returncode == 0
        assert done.stderr == ""


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_launcher_can_be_a_client_of_its_own_swarm_before_it_forks_more(forked, script):
    forked.start()
    with Client("ann", "tests", 11) as ann:
        forked.add("echo", script("echo.py", ECHO))
        forked.start("echo")
        ann.send(ASK)
        assert answer(ann)["N"] == 2
        forked.stop()
        with pytest.raises(LinkClosed):
            answer(ann)
    assert os.getpid()


PROGRAM = """
import sys
from swarmsim import MESSAGE_TYPE, Client, Swarm
swarm = Swarm(None)
swarm.add("server", sys.argv[1])
swarm.start()
swarm.add("bad", sys.argv[2])
swarm.start("bad")
client = Client("ann", "tests", 11)
client.send({"TYPE": MESSAGE_TYPE.DATA.CUSTOM.id, "TO_ROOM": "hall", "N": 1})
client.receive(timeout=60)
while True:
    client.receive(timeout=60)
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("raise OSError('no tape')", "component 'bad' failed: OSError: no tape"),
        ("pass", "before it waited for a message"),
        (RAISING, "component 'bad' failed: ZeroDivisionError"),
        (EXITING, "its process ended with status 0 without leaving the swarm"),
    ],
    ids=["syntax error", "raises at start", "exits at start", "raises in a handler", "exits without a word"],
)
def test_a_program_whose_component_fails_ends_promptly_with_status_1_and_leaves_nothing(script, text, told):
    paths = script("server.py", SERVER), script("bad.py", text), script("program.py", PROGRAM)
    began = time.monotonic()
    program = [sys.executable, paths[2], paths[0], paths[1]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert time.monotonic() - began < 20
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if paths[2].encode() in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
