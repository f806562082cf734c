"""The link between processes of one host."""

import fcntl
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE, Client, Server, Trigger
from swarmsim.errors import AddressError, LinkClosed, WaitTimeout
from swarmsim.messaging.codec import encode
from swarmsim.messaging.links import private_directory, serve_any, serving_on
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.queues import directory as directory_module
from swarmsim.messaging.queues import endpoint as queues
from swarmsim.messaging.queues.directory import directory_of, is_served_here
from tests.conftest import TIMED
from tests.messaging.queues.delivery_counts import delivery_counts
from tests.messaging.test_client import next_data, to_room


@pytest.fixture(autouse=True)
def servers_of_queues():
    with serving_on("queues"):
        yield


fork = multiprocessing.get_context("fork")
CUSTOM = MESSAGE_TYPE.DATA.CUSTOM


def in_other_process(task, *args):
    process = fork.Process(target=_task, args=(task, args))
    process.start()
    return process


def _task(task, args):
    PROCESS.begin_child(lambda: None)
    task(*args)


def echo(address, name="echo"):
    with Client(name, *address) as client:
        client.join_room("calls")
        while True:
            message = next_data(client)
            client.send({"TYPE": CUSTOM.id, "TO": message["SENT_BY"], "X": message["X"]})
            if message.get("END"):
                return


def test_a_process_forked_later_receives_messages(queues_address):
    with Client("ann", *queues_address) as ann:
        process = in_other_process(echo, queues_address)
        ann.await_components("calls", 1, timeout=10)
        ann.send(to_room("calls", X=np.arange(5), END=True))
        assert np.array_equal(next_data(ann)["X"], np.arange(5))
        process.join(10)


@pytest.mark.parametrize("size", [1, 4000, 4096, 5000, 70_000, 3_000_000])
def test_messages_of_any_size_arrive_whole(queues_address, size):
    with Client("ann", *queues_address) as ann:
        process = in_other_process(echo, queues_address)
        ann.await_components("calls", 1, timeout=10)
        sent = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
        ann.send(to_room("calls", X=sent, END=True))
        assert np.array_equal(next_data(ann)["X"], sent)
        process.join(10)


def flood(address, name, n_messages):
    with Client(name, *address) as client:
        for i in range(n_messages):
            client.send(to_room("hall", I=i, X=np.full(3000, i, np.float32)))


def test_long_messages_of_many_senders_arrive_whole_and_in_each_senders_order(queues_address):
    with Client("ann", *queues_address) as ann:
        ann.join_room("hall")
        senders = [in_other_process(flood, queues_address, f"sender{i}", 60) for i in range(4)]
        next_number = dict.fromkeys([f"sender{i}" for i in range(4)], 0)
        for _ in range(4 * 60):
            message = next_data(ann)
            assert message["I"] == next_number[message["SENT_BY"]]
            assert np.array_equal(message["X"], np.full(3000, message["I"], np.float32))
            next_number[message["SENT_BY"]] += 1
        for sender in senders:
            sender.join(10)


def test_two_clients_that_flood_each_other_do_not_deadlock(queues_address, monkeypatch):
    monkeypatch.setattr(queues, "QUEUE_BYTES", 4096)

    def talk(name, other):
        with Client(name, *queues_address) as client:
            client.join_room(name)
            client.await_components(other, 1, timeout=10)
            for _ in range(50):
                client.send(to_room(other, X=np.zeros(2000)))
            for _ in range(50):
                next_data(client)
            client.send({"TYPE": CUSTOM.id, "TO": "judge", "DONE": name})
            client.await_components("end", 1, timeout=10)

    with Client("judge", *queues_address) as judge:
        talkers = [in_other_process(talk, *names) for names in (("a", "b"), ("b", "a"))]
        assert {next_data(judge)["DONE"], next_data(judge)["DONE"]} == {"a", "b"}
        judge.join_room("end")
        for talker in talkers:
            talker.join(10)


def test_a_queue_that_stays_full_is_an_error_that_names_its_owner(queues_address, monkeypatch):
    monkeypatch.setattr(queues, "QUEUE_BYTES", 4096)
    monkeypatch.setattr(queues, "SEND_TIMEOUT", 0.1)
    with Client("ann", *queues_address) as ann, Client("deaf", *queues_address) as deaf:
        deaf.join_room("hall")
        with pytest.raises(WaitTimeout, match="'ann' waited 0.1 s to send to 'deaf': its queue is full"):
            for _ in range(100):
                ann.send(to_room("hall", X=np.zeros(400)))


def test_an_interrupted_message_does_not_damage_the_next(queues_address, monkeypatch):
    monkeypatch.setattr(queues, "QUEUE_BYTES", 8192)
    monkeypatch.setattr(queues, "SEND_TIMEOUT", 0.1)
    with Client("ann", *queues_address) as ann, Client("bob", *queues_address) as bob:
        bob.join_room("hall")
        with pytest.raises(WaitTimeout):
            ann.send(to_room("hall", X=np.zeros(100_000)))
        with pytest.raises(WaitTimeout, match="'bob' waited"):
            next_data(bob) if bob.receive(timeout=0.1) else None
        for n in (10, 700):
            ann.send(to_room("hall", X=np.arange(n)))
            assert np.array_equal(next_data(bob)["X"], np.arange(n))


def die(address):
    client = Client("mortal", *address, announce={"COMPONENTS": ["mortal1", "mortal2"]})
    client.join_room("hall")
    os._exit(3)


def test_a_dead_receiver_is_removed_and_the_others_receive_disconnect(queues_address):
    with Client("ann", *queues_address) as ann, Client("bob", *queues_address) as bob:
        in_other_process(die, queues_address).join(10)
        assert ann.components_in("hall") == ["mortal1", "mortal2"]
        ann.send(to_room("hall"))
        assert ann.components_in("hall") == []
        for client in (ann, bob):
            while (message := client.receive(timeout=5))["TYPE"] != "COMMAND/DISCONNECT":
                pass
            assert message["COMPONENTS"] == ["mortal1", "mortal2"]
            assert message["SENT_BY"] == "mortal"
        ann.send(to_room("hall"))


def mortal_pair(address):
    for name in ("left", "right"):
        Client(name, *address).join_room("hall")
    os._exit(3)


def test_all_clients_of_a_dead_process_are_removed_at_once(queues_address):
    with Client("ann", *queues_address) as ann, Client("bob", *queues_address) as bob:
        process = in_other_process(mortal_pair, queues_address)
        process.join(10)
        assert ann.components_in("hall") == ["left", "right"]
        ann.remove_member(process.pid)
        assert ann.components_in("hall") == []
        assert len(list((directory_of(queues_address) / "inbox").iterdir())) == 2
        for client in (ann, bob):
            names = []
            while len(names) < 2:
                message = client.receive(timeout=5)
                names += [message["SENT_BY"]] if message["TYPE"] == "COMMAND/DISCONNECT" else []
            assert sorted(names) == ["left", "right"]
        for _ in range(2):
            bob.remove_member(process.pid)
            ann.remove_member(1)
        for client in (ann, bob):
            with pytest.raises(WaitTimeout):
                client.receive(timeout=0.01)


def test_a_dead_member_that_two_clients_remove_disconnects_once(queues_address, monkeypatch):
    with Client("ann", *queues_address) as ann, Client("bob", *queues_address) as bob:
        process = in_other_process(die, queues_address)
        process.join(10)
        first_rooms = ann.rooms()
        bob.remove_member(process.pid)
        end = ann._endpoint
        monkeypatch.setattr(end, "rooms", lambda: first_rooms)
        ann.remove_member(process.pid)
        monkeypatch.undo()
        disconnects = []
        with pytest.raises(WaitTimeout):
            while True:
                message = ann.receive(timeout=0.05)
                disconnects += [message["SENT_BY"]] if message["TYPE"] == "COMMAND/DISCONNECT" else []
        assert disconnects == ["mortal"]


def test_only_a_swarm_on_queues_has_a_private_directory(address):
    directory = private_directory(address)
    assert (directory is not None) == is_served_here(address)
    if directory is not None:
        (directory / "state" / "note").write_text("here")
        assert directory.stat().st_mode & 0o077 == 0


def test_an_invalid_body_is_logged_and_ignored(queues_address, caplog):
    with Client("ann", *queues_address) as ann, Client("bob", *queues_address) as bob:
        bob.join_room("hall")
        end = ann._endpoint
        end.deliver(end.rooms(), to_room("hall"), [bob._endpoint.id], b"\x05\x00\x00\x00nope!")
        ann.send(to_room("hall", TEXT="good"))
        assert next_data(bob)["TEXT"] == "good"
    assert "bob ignored an invalid message: a body of 9 bytes is not a message" in caplog.text


@pytest.mark.parametrize("message", [{"X": 1}, {"TYPE": [1], "TO": "bob"}, {"TYPE": "DATA/NOPE", "TO": "bob"}])
def test_an_invalid_message_is_logged_and_ignored(queues_address, caplog, message):
    with Client("ann", *queues_address) as ann, Client("bob", *queues_address) as bob:
        bob.join_room("hall")
        end = ann._endpoint
        end.deliver(end.rooms(), to_room("hall"), [bob._endpoint.id], encode(message))
        ann.send(to_room("hall", TEXT="good"))
        assert next_data(bob)["TEXT"] == "good"
    assert "bob ignored an invalid message" in caplog.text


def test_a_lock_that_is_never_released_is_an_error_after_a_time_limit(queues_address, monkeypatch):
    monkeypatch.setattr(directory_module, "LOCK_SECONDS", 0.1)
    with Client("ann", *queues_address) as ann, (directory_of(queues_address) / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(WaitTimeout, match=r"waited 0\.1 s for the member that holds"):
            ann.join_room("hall")
        fcntl.flock(lock, fcntl.LOCK_UN)
        ann.join_room("hall")


def test_an_address_is_served_once_at_a_time():
    with Server("tests", 1), pytest.raises(AddressError, match=f"already served by process {os.getpid()}"):
        Server("tests", 1)
    with Server("tests", 1):
        pass


def test_localhost_and_127_0_0_1_are_one_address():
    with Server("localhost", 8078), Client("ann", "127.0.0.1", 8078) as ann:
        assert [member.name for member in ann.rooms().members.values()] == ["ann"]


def test_swarms_at_two_addresses_are_separate():
    with Server("tests", 1), Server("tests", 2), Client("ann", "tests", 1) as ann, Client("ann", "tests", 2) as other:
        for client in (ann, other):
            client.join_room("hall")
        assert len(ann.rooms().members) == 1
        other.send(to_room("hall"))
        with pytest.raises(WaitTimeout):
            ann.receive(timeout=0.05)


SERVER_PROGRAM = """
from swarmsim import Server
from swarmsim.messaging.links import serve_on

serve_on("queues")
server = Server("tests", 3)
print("serves", flush=True)
server.start()
"""


@TIMED
def test_a_client_finds_another_programs_server_and_notices_when_it_is_killed():
    server = subprocess.Popen([sys.executable, "-c", SERVER_PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "serves\n"
        client = Client("ann", "tests", 3)
        began = time.monotonic()
        server.kill()
        with pytest.raises(LinkClosed, match="'ann' lost its link: the swarm has stopped at tests:3"):
            client.receive(timeout=20)
        assert time.monotonic() - began < 10
        with pytest.raises(AddressError, match="no swarm runs at tests:3"):
            Client("bob", "tests", 3)
        client.close()
    finally:
        server.kill()
        server.wait(10)
        server.stdout.close()
    with Server("tests", 3), Client("bob", "tests", 3):
        pass  # a new server replaces what a killed one left


def test_a_stopped_server_closes_its_clients_links():
    server = Server("tests", 1)
    client = Client("ann", "tests", 1)
    server.stop()
    with pytest.raises(LinkClosed):
        client.receive(timeout=5)
    with pytest.raises(LinkClosed):
        client.send(to_room("_command"))
    client.close()


def test_deliveries_are_counted_by_room(queues_address):
    with Client("ann", *queues_address) as ann, Client("bob", *queues_address) as bob:
        bob.join_room("hall")
        before = delivery_counts(queues_address)
        for _ in range(3):
            ann.send(to_room("hall"))
        ann.send({"TYPE": CUSTOM.id, "TO": "bob"})
        after = delivery_counts(queues_address)
    assert after["hall"] - before.get("hall", 0) == 3
    assert after[""] - before[""] == 1
    assert after["_command"] == before["_command"]


def test_clients_and_servers_leave_no_files_or_descriptors():
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        served = serve_any("tests")
        with Client("ann", *served.address) as ann, Client("bob", *served.address) as bob:
            bob.add_eventHandler(lambda m: None, CUSTOM, trigger=Trigger(CUSTOM, "hall"))
            ann.send(to_room("hall"))
        directory = directory_of(served.address)
        assert not list((directory / "inbox").iterdir())
        served.close()
        assert not directory.exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
