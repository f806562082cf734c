"""A TCP peer that is gone though nothing says so: a proxy that forwards nothing any more, a network that is cut."""

import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from swarmsim import MESSAGE_TYPE, Client, LinkClosed, SettingsError, Trigger, WaitTimeout
from swarmsim.messaging.links import serve
from swarmsim.messaging.sockets import heartbeat
from tests.conftest import environ

SECONDS = 1.0
TEXT = MESSAGE_TYPE.DATA.TEXT


@pytest.fixture(autouse=True)
def short_silence(monkeypatch):
    monkeypatch.setenv(heartbeat.SILENCE_VARIABLE, str(SECONDS))


@pytest.fixture
def served(short_silence):
    server = serve(("127.0.0.1", 0))
    server.serve_in_background()
    yield server.address
    server.close()


class Proxy:
    """Forwards connections to `target` until `cut`; then it reads and sends nothing, and closes nothing."""

    def __init__(self, target) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._end, self._stop = socket.socketpair()
        self.forwards = True
        self._thread = threading.Thread(target=self._forward)
        self._thread.start()

    def _forward(self) -> None:
        while self.forwards:
            ready, _, _ = select.select([self._listener, self._end, *self._peers], [], [])
            for link in ready:
                if link is self._end:
                    return
                if link is self._listener:
                    near, far = link.accept()[0], socket.create_connection(self._target)
                    self._peers |= {near: far, far: near}
                elif link in self._peers:
                    data = link.recv(1 << 16)
                    if data:
                        self._peers[link].sendall(data)
                    else:
                        self._peers.pop(link).shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        self.forwards = False
        self._stop.send(b"x")
        self._thread.join()

    def close(self) -> None:
        if self.forwards:
            self.cut()
        for link in (self._listener, self._end, self._stop, *self._peers):
            link.close()


@pytest.fixture
def proxy(served):
    between = Proxy(served)
    yield between
    between.close()


def disconnect_of(client: Client, name: str) -> dict:
    while True:
        message = client.receive(20)
        if (message["TYPE"], message["SENT_BY"]) == ("COMMAND/DISCONNECT", name):
            return message


def test_both_ends_give_up_a_peer_behind_a_proxy_that_forwards_nothing_any_more(served, proxy, caplog):
    with Client("near", *served) as near, Client("far", *proxy.address) as far:
        far.join_room("hall")
        proxy.cut()
        with caplog.at_level(logging.WARNING, "swarmsim"):
            assert disconnect_of(near, "far")["COMPONENTS"] == ["far"]
        assert any("the server dropped 'far'" in each and "for 1 s" in each for each in caplog.messages)
        with pytest.raises(LinkClosed, match=rf"'far' lost its link: for 1 s \({heartbeat.SILENCE_VARIABLE}.*:\d+$"):
            while True:
                far.receive(20)
        assert [member.name for member in near.rooms().members.values()] == ["near"]


@pytest.mark.long
def test_a_client_whose_handler_works_for_long_or_that_only_idles_is_alive(served):
    number_of_threads = threading.active_count()
    with Client("ann", *served) as ann, Client("bob", *served) as bob, Client("idle", *served):

        def work(message):
            time.sleep(1.6 * SECONDS)  # longer than the bound, which is what the test is about
            ann.close()

        ann.add_eventHandler(work, trigger=Trigger(TEXT, "hall"))
        bob.send({"TYPE": TEXT.id, "TO_ROOM": "hall", "DATA": 1})
        ann.listen()
        assert disconnect_of(bob, "ann")
        assert [member.name for member in bob.rooms().members.values()] == ["bob", "idle"]
    assert threading.active_count() == number_of_threads


MEMBER = """
import sys
from swarmsim import Client
client = Client("stopped", "127.0.0.1", int(sys.argv[1]))
print("there", flush=True)
client.listen()
"""


@pytest.mark.long
def test_a_process_that_is_stopped_on_the_servers_host_can_continue(served):
    program = [sys.executable, "-c", MEMBER, str(served[1])]
    with (
        Client("ann", *served) as ann,
        subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ()) as member,
    ):
        member.stdout.readline()
        os.kill(member.pid, signal.SIGSTOP)
        with pytest.raises(WaitTimeout):
            deadline = time.monotonic() + 1.6 * SECONDS
            while True:
                assert ann.receive(max(0.01, deadline - time.monotonic()))["TYPE"] != "COMMAND/DISCONNECT"
        assert "stopped" in [each.name for each in ann.rooms().members.values()]
        os.kill(member.pid, signal.SIGCONT)
        member.kill()
        disconnect_of(ann, "stopped")


@pytest.mark.long
def test_a_client_that_sends_no_beat_is_left_to_the_kernel(served):
    with Client("ann", *served) as ann, socket.create_connection(served) as plain:
        body = json.dumps({"TYPE": "COMMAND/REGISTER", "NAME": "plain", "TO_ROOM": "_command"}).encode()
        plain.sendall(f"{len(body):<10}".encode() + body)
        ann.await_components("_command", 2, 10)
        with pytest.raises(WaitTimeout):
            while True:
                assert ann.receive(1.6 * SECONDS)["TYPE"] != "COMMAND/DISCONNECT"


def test_the_bound_of_silence_is_a_number_of_seconds(monkeypatch):
    for value in ("soon", "0.1", "-3", "nan", "inf"):
        monkeypatch.setenv(heartbeat.SILENCE_VARIABLE, value)
        with pytest.raises(SettingsError, match=f"must be at least 1 seconds, not '{value}'"):
            heartbeat.silence_seconds()


# --- a network that is cut, in namespaces of their own


def can_make_networks() -> bool:
    command = ["unshare", "-n", "ip", "link"]
    with contextlib.suppress(OSError):
        return os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    return False


SERVER = """
from swarmsim import Server
Server("10.99.0.1", 8080, insecure=True).start()
"""

WATCHER = """
import sys, time
from swarmsim import AddressError, Client
for _ in range(200):
    try:
        client = Client("near", "10.99.0.1", 8080)
        break
    except AddressError:
        time.sleep(0.05)
print("there", flush=True)
try:
    while True:
        message = client.receive(20)
        if message["TYPE"] == "COMMAND/DISCONNECT":
            print(message["SENT_BY"], flush=True)
except Exception as error:
    print(error, flush=True)
"""


@pytest.fixture
def network():
    """Two network namespaces, named by the processes that hold them, and a cable between them."""
    if not can_make_networks():
        pytest.skip("only root makes network namespaces")
    held = [subprocess.Popen(["unshare", "-n", "sleep", "60"]) for _ in range(2)]
    here = Path("/proc/self/ns/net").readlink()
    while any(Path(f"/proc/{each.pid}/ns/net").readlink() == here for each in held):
        time.sleep(0.01)

    def inside(number: int, *command: str) -> list[str]:
        return ["nsenter", "-t", str(held[number].pid), "-n", *command]

    def run(number: int, command: str) -> None:
        subprocess.run(inside(number, *command.split()), check=True)

    run(0, f"ip link add cable0 type veth peer name cable1 netns {held[1].pid}")
    for number in range(2):
        run(number, f"ip addr add 10.99.0.{number + 1}/24 dev cable{number}")
        run(number, f"ip link set cable{number} up")
        run(number, "ip link set lo up")
    yield inside, run
    for each in held:
        each.kill()
        each.wait()


PLAIN = """
import sys, time
from swergio import Client
client = Client("plain", "10.99.0.1", 8080, "utf-8", 10)
client.join_room("hall")
print("there", flush=True)
time.sleep(60)
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", ["near", "plain"])
def test_a_member_whose_network_is_cut_is_dropped_by_name_and_gives_up_itself(network, kind):
    if kind == "plain":
        pytest.importorskip("swergio")
    inside, run = network
    with contextlib.ExitStack() as stack:

        def start(number: int, program: str) -> subprocess.Popen:
            command = inside(number, sys.executable, "-c", program)
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            process = stack.enter_context(subprocess.Popen(command, env=environ(), **pipes))
            stack.callback(process.kill)
            return process

        server, near = start(0, SERVER), start(0, WATCHER)
        assert near.stdout.readline() == "there\n"
        far = start(1, WATCHER.replace('"near"', '"far"') if kind == "near" else PLAIN)
        assert far.stdout.readline() == "there\n"
        run(1, "ip link set cable1 down")
        name = "far" if kind == "near" else "plain"
        assert near.stdout.readline() == f"{name}\n"
        assert f"the server dropped '{name}'" in server.stderr.readline()
        if kind == "near":
            assert "'far' lost its link: " in far.stdout.readline()
