"""Processes that a component or a launcher has forked hold no sign of life, and no other resource, of either."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarmsim import Client, ComponentFailed, LinkClosed, Swarm
from swarmsim.messaging.links import serve_any, serving_on
from swarmsim.messaging.process_context import PROCESS
from tests.conftest import environ, long_after

SERVER = "from swarmsim import Server; Server('tests', 12).start()"
# A component with a helper process, made in one of several ways, that outlives it for as long as it may.
PART = """
import multiprocessing, os, subprocess, sys, time
from pathlib import Path
from swarmsim import Client, MESSAGE_TYPE, Trigger

def by_multiprocessing():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(20,), daemon=True).start()

def by_fork():
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)

def by_popen():
    subprocess.Popen(["sleep", "20"], close_fds=False)

HOW()
client = Client("part", "tests", 12)
CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
def handle(message):
    HOW()
    return {"TO": message["SENT_BY"], "PID": os.getpid()}
client.add_eventHandler(handle, CUSTOM, trigger=Trigger(CUSTOM, "hall"))
client.listen()
Path(sys.argv[0]).with_name("left").touch()
"""
HELPED = [("by_multiprocessing", None), ("by_fork", None), ("by_popen", None), ("by_fork", sys.executable)]
ASK = {"TYPE": "DATA/CUSTOM", "TO_ROOM": "hall"}


def swarm_with(part: str, folder: Path, **wanted) -> Swarm:
    (folder / "server.py").write_text(SERVER)
    (folder / "part.py").write_text(part)
    swarm = Swarm(None)
    swarm.add("server", folder / "server.py")
    swarm.add("part", folder / "part.py", **wanted)
    return swarm


@pytest.mark.parametrize(("how", "python"), long_after(4, [*HELPED, ("by_multiprocessing", sys.executable)]))
def test_a_component_that_is_killed_is_noticed_though_its_helpers_live(tmp_path, how, python):
    with swarm_with(PART.replace("HOW()", f"{how}()"), tmp_path, python_cmd=python) as swarm:
        swarm.start()
        with Client("ann", "tests", 12) as ann:
            ann.send(ASK)
            message = ann.receive(10)
            while "PID" not in message:
                message = ann.receive(10)
            children = Path(f"/proc/{message['PID']}/task/{message['PID']}/children").read_text()
            helpers = [int(pid) for pid in children.split()]
            assert len(helpers) == 2
            os.kill(message["PID"], signal.SIGKILL)
            with pytest.raises(ComponentFailed, match="component 'part' failed: ProcessEnded"):
                ann.receive(10)
            for helper in helpers:
                os.kill(helper, signal.SIGKILL)


@pytest.mark.parametrize("how", ["pool", "fork"])
def test_a_launcher_that_has_forked_asks_its_components_to_stop_and_they_leave(tmp_path, how):
    swarm = swarm_with(PART.replace("HOW()", "pass"), tmp_path)
    swarm.start()
    if how == "pool":
        with multiprocessing.get_context("fork").Pool(1):
            swarm.stop()
    else:
        reader, writer = os.pipe()
        helper = os.fork()
        if helper == 0:
            os.close(writer)
            os.read(reader, 1)  # until the test is over
            os._exit(0)
        swarm.stop()
        os.close(writer)
        os.waitpid(helper, 0)
        os.close(reader)
    assert (tmp_path / "left").exists()


LAUNCHER = """
import os, sys
from pathlib import Path
from swarmsim import Swarm
swarm = Swarm(None)
for name in ("server", "part"):
    swarm.add(name, Path(sys.argv[0]).with_name(f"{name}.py"))
swarm.start()
if os.fork() == 0:
    sys.exit(0)  # a helper that ends as programs do
os.wait()
print(swarm.components["part"].state, flush=True)
if os.fork() == 0:  # a helper that outlives the launcher
    os.close(0), os.close(1), os.close(2)
    import time
    time.sleep(20)
    os._exit(0)
HOW
"""


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), 9)", "swarm.stop()"])
def test_a_helper_of_the_launcher_neither_stops_its_swarm_nor_keeps_it_alive(tmp_path, how):
    swarm_with(PART.replace("HOW()", "pass"), tmp_path)
    (tmp_path / "launcher.py").write_text(LAUNCHER.replace("HOW", how))
    program = subprocess.Popen(
        [sys.executable, tmp_path / "launcher.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=environ(),
    )  # fmt: skip
    out, err = program.communicate(timeout=60)
    assert out == "ready\n"
    assert err == ""
    deadline = time.monotonic() + 30
    while not (tmp_path / "left").exists():  # the components have noticed
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(program.pid, signal.SIGKILL)  # the helper


def test_a_client_belongs_to_the_process_that_made_it():
    with serving_on("queues"):
        served = serve_any("tests")
    try:
        with Client("ann", *served.address) as ann:
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    ann.send({"TYPE": "DATA/CUSTOM", "TO": "ann"})
                except LinkClosed:
                    status = 0
                finally:
                    os._exit(status or len(PROCESS.closers()))
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            ann.join_room("hall")
            assert ann.components_in("hall") == ["ann"]
    finally:
        served.close()
