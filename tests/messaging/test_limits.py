"""Garbage in a client's queue, flow control, and fairness during floods."""

import os
import re
import time
from itertools import count

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE, Client, Trigger
from swarmsim.errors import MessageError, Stalled, StopRequested, WaitTimeout
from swarmsim.messaging import endpoint
from swarmsim.messaging.codec import encode
from swarmsim.messaging.process_context import PROCESS
from swarmsim.messaging.queues import endpoint as queues
from swarmsim.messaging.queues import flow_control
from swarmsim.messaging.queues.directory import directory_of
from swarmsim.messaging.queues.flow_control import COUNTED_ROOMS, WINDOW_BYTES, Acknowledgements, Counters
from swarmsim.messaging.queues.fragments import FAIR_SHARE, encode_fragment, sender_number, split_body
from tests.conftest import TIMED
from tests.messaging.queues.test_endpoint import in_other_process
from tests.messaging.test_client import next_data, to_room

CUSTOM = MESSAGE_TYPE.DATA.CUSTOM
TEXT = "x" * 50


@pytest.fixture
def three(queues_address):
    """Two clients, and a third one that is in the room `hall`."""
    with (
        Client("ann", *queues_address) as ann,
        Client("bob", *queues_address) as bob,
        Client("cid", *queues_address) as cid,
    ):
        cid.join_room("hall")
        for client in (ann, bob, cid):
            with pytest.raises(WaitTimeout):
                while True:
                    client.receive(timeout=0.01)
        yield ann, bob, cid


def write_into(client, data):
    """Write bytes into a client's queue, like any process of this user can."""
    queue = os.open(directory_of(client.address) / "inbox" / client._endpoint.id, os.O_WRONLY | os.O_NONBLOCK)
    for start in range(0, len(data), 4096):
        os.write(queue, data[start : start + 4096])
    os.close(queue)


def assert_no_message(client):
    with pytest.raises(WaitTimeout):
        client.receive(timeout=0)


def unacknowledged(sender, receiver):
    outlet = sender._endpoint._outlets[receiver._endpoint.id]
    return outlet.sent - sender._endpoint._counters.acknowledged[outlet.slot]


# --- garbage


def test_garbage_in_a_queue_is_logged_and_loses_no_message(three, caplog):
    ann, bob, cid = three
    ann.send(to_room("hall", N=1))
    write_into(cid, b"abc")
    ann.send(to_room("hall", N=2))
    long = encode_fragment(split_body(bytes(4000))[0], sender_number(1, 1), 0, 4000)
    write_into(cid, long[:200])
    bob.send(to_room("hall", N=3, X=np.arange(5000)))
    write_into(cid, os.urandom(100_000))
    ann.send(to_room("hall", N=4))
    assert [next_data(cid)["N"] for _ in range(4)] == [1, 2, 3, 4]
    cid.close()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "cid skipped invalid bytes in its queue: 3 bytes",
        "cid skipped invalid bytes in its queue: 2 more",
    ]


def test_forged_fragments_open_no_files(three, caplog):
    ann, _, cid = three
    for sender in range(100):
        body = encode({"SENT_BY": "nobody"})
        write_into(cid, encode_fragment(split_body(body)[0], sender, 65_535, len(body)))
    ann.send(to_room("hall", N=1))
    assert next_data(cid)["N"] == 1
    assert len(cid._endpoint._acknowledgements._of_sender) == 1
    assert len(caplog.records) == 1


def test_rejections_of_one_kind_are_rate_limited_and_counted(caplog, monkeypatch):
    monkeypatch.setattr(endpoint, "LOG_SECONDS", 0.05)
    rejections = endpoint.RejectionLog("ann")
    for number in range(5):
        rejections.log("left out", f"number {number}")
    rejections.log("skipped", "another")
    time.sleep(0.06)
    rejections.log("left out", "number 5")
    rejections.log("left out", "number 6")
    rejections.close()
    rejections.close()
    assert [record.getMessage() for record in caplog.records] == [
        "ann left out: number 0",
        "ann skipped: another",
        "ann left out: number 5, and 4 more before it",
        "ann left out: 1 more",
    ]


# --- floods


@pytest.mark.parametrize("asks", [False, True])
def test_a_message_behind_2000_of_another_sender_waits_only_for_its_fair_share(three, asks):
    ann, bob, cid = three
    for number in range(2000):
        ann.send(to_room("hall", N=number))
        cid._endpoint._read_inbox()
        if asks:
            assert_no_message(ann)
    for _ in range(10):
        next_data(cid)
    bob.send(to_room("hall", N="bob's"))
    received = [next_data(cid)["N"] for _ in range(FAIR_SHARE + 1)]
    assert received == [*range(10, 10 + FAIR_SHARE), "bob's"]
    assert [next_data(cid)["N"] for _ in range(1990 - FAIR_SHARE)] == list(range(10 + FAIR_SHARE, 2000))


def test_a_slow_receiver_gets_messages_in_the_order_in_which_they_were_sent(three):
    ann, bob, cid = three
    for number in range(300):
        client = ann if number % 100 else bob
        client.send(to_room("hall", N=number))
        assert_no_message(client)
    assert [next_data(cid)["N"] for _ in range(300)] == list(range(300))


def test_flooding_a_receiver_that_never_reads_is_an_error_that_names_it(three, monkeypatch):
    monkeypatch.setattr(queues, "SEND_TIMEOUT", 0.1)
    ann, bob, cid = three
    sent = 0
    with pytest.raises(WaitTimeout, match=re.escape("'ann' waited 0.1 s to send to 'cid': its queue is full")):
        while True:
            ann.send(to_room("hall", N=sent))
            sent += 1
            cid._endpoint._read_inbox()
    assert sent > 1000
    assert WINDOW_BYTES - 200 < unacknowledged(ann, cid) <= WINDOW_BYTES
    assert cid._endpoint._arrivals.size <= WINDOW_BYTES
    bob.send(to_room("hall", N="bob's"))
    assert [next_data(cid)["N"] for _ in range(sent + 1)].index("bob's") == FAIR_SHARE
    ann.send(to_room("hall", N="again"))
    assert next_data(cid)["N"] == "again"


def flood(address, size):
    with Client("flooder", *address) as client:
        while True:
            client.send(to_room("hall", X=np.zeros(size)))


@pytest.mark.parametrize("size", [1, 1000, 20_000])
def test_a_floods_backlog_is_bounded_by_the_window(three, size):
    _, _, cid = three
    flooder = in_other_process(flood, cid.address, size)
    largest = 0
    for _ in range(300):
        next_data(cid)
        largest = max(largest, cid._endpoint._arrivals.size)
    flooder.kill()
    flooder.join(10)
    assert largest <= WINDOW_BYTES


def test_a_message_longer_than_the_window_is_sent_alone(three, monkeypatch):
    monkeypatch.setattr(queues, "SEND_TIMEOUT", 0.1)
    ann, _, cid = three
    long = np.zeros(WINDOW_BYTES // 8 + 1)
    ann.send(to_room("hall", N=1))
    with pytest.raises(WaitTimeout, match="its queue is full"):
        ann.send(to_room("hall", N=2, X=long))
    assert next_data(cid)["N"] == 1
    ann.send(to_room("hall", N=3, X=long))
    with pytest.raises(WaitTimeout, match="its queue is full"):
        ann.send(to_room("hall", N=4))
    assert next_data(cid)["N"] == 3
    ann.send(to_room("hall", N=5))
    assert next_data(cid)["N"] == 5
    assert unacknowledged(ann, cid) == 0


def test_a_waiting_sender_acknowledges_incoming_messages_up_to_the_backlog_limit(three, monkeypatch):
    monkeypatch.setattr(queues, "SEND_TIMEOUT", 0.02)
    monkeypatch.setattr(queues, "BACKLOG_BYTES", 10 * WINDOW_BYTES)
    ann, bob, _ = three
    half = np.zeros(WINDOW_BYTES // 16 - 20)
    for _ in range(2):
        bob.send({"TYPE": "DATA/CUSTOM", "TO": "cid", "X": half})
    sent = 0
    with pytest.raises(WaitTimeout, match="'ann' waited"):
        while True:
            ann.send({"TYPE": "DATA/CUSTOM", "TO": "bob", "X": half})
            sent += 1
            with pytest.raises(WaitTimeout, match="'bob' waited"):
                bob.send({"TYPE": "DATA/CUSTOM", "TO": "cid", "X": half})
    assert 20 <= sent <= 24
    assert bob._endpoint._arrivals.size <= 12 * WINDOW_BYTES


def deaf(address, seconds):
    client = Client("deaf", *address)
    client.join_room("hall")
    time.sleep(seconds)
    os._exit(3)


@TIMED
def test_a_sender_continues_when_the_receiver_that_it_waits_for_dies(queues_address):
    with Client("ann", *queues_address) as ann:
        process = in_other_process(deaf, queues_address, 0.5)
        ann.await_components("hall", 1, timeout=10)
        began = time.monotonic()
        while ann.components_in("hall"):
            ann.send(to_room("hall", TEXT=TEXT))
        assert time.monotonic() - began < 10
        process.join(10)


def test_a_waiting_sender_notices_a_stop_request(three):
    ann, _, _ = three
    asked, asks = os.pipe()

    def stop():
        raise StopRequested

    PROCESS.add_reader(asked, stop)
    os.write(asks, b"!")
    with pytest.raises(StopRequested):
        while True:
            ann.send(to_room("hall", TEXT=TEXT))
    PROCESS.remove_reader(asked)
    with pytest.raises(StopRequested):  # a client with a backlog notices it too
        PROCESS.add_reader(asked, stop)
        while True:
            three[2].receive(timeout=1)
    PROCESS.remove_reader(asked)
    for end in (asked, asks):
        os.close(end)


# --- flow control


def test_acknowledgements_are_written_into_the_senders_counters(tmp_path):
    sender = sender_number(1, 2)
    counters, acknowledgements = Counters(tmp_path / "1-2", create=True), Acknowledgements(tmp_path)
    counters.deliveries[3] = 4
    counters.reserve(65_535)
    for position in (10, 30, 20):
        acknowledgements.acknowledge(sender, 65_535, position)
    assert counters.acknowledged[65_535] == 30
    assert sum(counters.acknowledged) == 30
    assert list(flow_control.read_deliveries(tmp_path / "1-2")) == [
        4 if room == 3 else 0 for room in range(COUNTED_ROOMS)
    ]
    acknowledgements.close()
    counters.close()


def test_the_space_of_the_counters_is_small_and_reserved(tmp_path):
    counters = Counters(tmp_path / "1-2", create=True)
    for slot in range(2_000):
        counters.reserve(slot)
        counters.acknowledged[slot] = slot
        status = (tmp_path / "1-2").stat()
        assert status.st_size <= status.st_blocks * 512 <= max(flow_control.FIRST_BYTES, 16 * (COUNTED_ROOMS + slot))
    assert list(counters.acknowledged)[:2_000] == list(range(2_000))
    counters.close()


def test_missing_or_short_counter_files_are_ignored(tmp_path):
    (tmp_path / "0-1").write_bytes(b"short")
    acknowledgements = Acknowledgements(tmp_path)
    for sender in (0, 1):
        acknowledgements.acknowledge(sender, 0, 10)
    assert (tmp_path / "0-1").read_bytes() == b"short"


def test_the_oldest_of_many_open_counter_files_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(flow_control, "MAX_OPEN_FILES", 2)
    acknowledgements = Acknowledgements(tmp_path)
    for position in (10, 20):
        for sender in range(4):
            Counters(tmp_path / f"0-{sender}", create=True).close()
            acknowledgements.acknowledge(sender, 1, position)
    assert list(acknowledgements._of_sender) == [2, 3]
    acknowledgements.close()
    for sender in range(4):
        counters = Counters(tmp_path / f"0-{sender}", create=False)
        assert counters.acknowledged[1] == 20
        counters.close()


def test_sending_to_too_many_receivers_is_an_error(three):
    ann, _, _ = three
    ann._endpoint._slots = count(flow_control.MAX_RECEIVERS - 1)
    with Client("dan", *ann.address), Client("eve", *ann.address):
        ann.send({"TYPE": CUSTOM.id, "TO": "dan"})
        with pytest.raises(MessageError, match="'ann' has sent to 65,536 clients, and cannot send to any more"):
            ann.send({"TYPE": CUSTOM.id, "TO": "eve"})
        ann._endpoint._slots = count(10)  # so that it can send its DISCONNECT to eve


# --- waiting


def test_inprocess_a_wait_that_no_message_can_end_fails_at_once():
    from swarmsim.messaging.links import serve_any, serving_on

    with serving_on("inprocess"):
        served = serve_any("tests")
    with (
        Client("ann", *served.address) as ann,
        Client("bob", *served.address) as bob,
        Client("c", *served.address) as c,
    ):
        with pytest.raises(Stalled, match="'ann' waits for a message, and no component here has one left"):
            while True:
                ann.receive(float("inf"))
        for client in (bob, c):
            client.join_room("hall")
            client.add_eventHandler(lambda message: {"TO_ROOM": "hall"}, CUSTOM, trigger=Trigger(CUSTOM))
            client.listen()
        ann.join_room("quiet")
        ann.send(to_room("hall"))
        with pytest.raises(WaitTimeout, match=r"'ann' waited 0\.05 s for a message and none came") as caught:
            while True:
                ann.receive(timeout=0.05)
        assert not isinstance(caught.value, Stalled)
    served.close()


@TIMED
def test_await_components_times_out_during_a_flood(three):
    _, _, cid = three
    flooder = in_other_process(flood, cid.address, 1)
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match="'cid' waited 0.2 s for 9 component"):
        cid.await_components("hall", 9, timeout=0.2)
    assert time.monotonic() - began < 5
    flooder.kill()
    flooder.join(10)
