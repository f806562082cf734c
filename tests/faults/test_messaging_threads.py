"""Several threads of one component use its client."""

import contextlib
import threading

import pytest

from swarmsim import MESSAGE_TYPE, Client, LinkClosed, MessageError, Trigger, WaitTimeout

CUSTOM, TEXT = MESSAGE_TYPE.DATA.CUSTOM, MESSAGE_TYPE.DATA.TEXT


@contextlib.contextmanager
def thread(target):
    """Run `target` in a thread meanwhile; its error is raised here."""
    errors = []

    def run() -> None:
        try:
            target()
        except BaseException as error:
            errors.append(error)

    running = threading.Thread(target=run)
    running.start()
    yield running
    running.join(20)
    assert not running.is_alive()
    if errors:
        raise errors[0]


def received(client: Client) -> dict:
    while not (message := client.receive(10))["TYPE"].startswith("DATA"):
        pass
    return message


def test_what_two_threads_send_arrives_whole_and_in_order(address):
    number, size = 60, 20_000
    with Client("ann", *address) as ann, Client("bob", *address) as bob:
        bob.join_room("hall")

        def send(name):
            for i in range(number):
                ann.send({"TYPE": CUSTOM.id, "TO_ROOM": "hall", "NAME": name, "N": i, "X": name * size})

        with thread(lambda: send("p")) as p, thread(lambda: send("q")) as q:
            if address[0] == "tests" and hasattr(ann._endpoint, "_hub"):  # inside one process, a wait ends at once
                p.join(20)
                q.join(20)
            messages = [received(bob) for _ in range(2 * number)]
    for name in "pq":
        assert [m["N"] for m in messages if m["NAME"] == name] == list(range(number))
    assert all(message["X"] == message["NAME"] * size for message in messages)


@pytest.fixture(params=["queues", "sockets"])
def between_processes(request):
    return request.getfixturevalue("queues_address" if request.param == "queues" else "tcp_address")


def test_a_thread_sends_joins_and_leaves_while_another_one_listens(between_processes):
    number, handled = 200, []
    with Client("ann", *between_processes) as ann, Client("bob", *between_processes) as bob:

        def handle(message):
            handled.append(message["DATA"])
            if message["DATA"] == number - 1:
                ann.close()
            return {"DATA": message["DATA"]}

        ann.add_eventHandler(handle, TEXT, "answers", trigger=Trigger(TEXT, "questions"))
        bob.join_room("answers")
        bob.join_room("news")
        messages = []

        def collect():
            while len(messages) < 2 * (number - 1):
                messages.append(received(bob))

        with thread(ann.listen), thread(collect):
            for i in range(number - 1):
                bob.send({"TYPE": TEXT.id, "TO_ROOM": "questions", "DATA": i, "X": "x" * 9_000})
                ann.send({"TYPE": CUSTOM.id, "TO_ROOM": "news", "N": i, "X": "y" * 9_000})
                if i % 20 == 0:
                    ann.join_room(f"room-{i}")
                    ann.await_components(f"room-{i}", 1, 5)
                    ann.leave_room(f"room-{i}")
                if i % 3 == 0:
                    ann.rooms()
            bob.send({"TYPE": TEXT.id, "TO_ROOM": "questions", "DATA": number - 1})
    assert handled == list(range(number))
    for key, kind in (("N", CUSTOM), ("DATA", TEXT)):
        assert [m[key] for m in messages if m["TYPE"] == kind.id] == list(range(number - 1))


def test_a_thread_that_sends_to_a_full_queue_hands_on_what_it_reads_meanwhile(between_processes):
    """Two components whose threads flood each other while others listen: neither waits for the other for ever."""
    number, size, handled, ends = 40, 200_000, {"ann": [], "bob": []}, threading.Semaphore(0)
    with Client("ann", *between_processes) as ann, Client("bob", *between_processes) as bob:
        for client in (ann, bob):

            def handle(message, client=client):
                handled[client.name].append(message["N"])
                if message["N"] == number - 1:
                    ends.release()

            client.add_eventHandler(handle, trigger=Trigger(CUSTOM, "hall"))

        def send(client):
            for i in range(number):
                client.send({"TYPE": CUSTOM.id, "TO_ROOM": "hall", "N": i, "X": "x" * size})

        with thread(ann.listen), thread(bob.listen):
            with thread(lambda: send(ann)), thread(lambda: send(bob)):
                assert ends.acquire(timeout=20)
                assert ends.acquire(timeout=20)
            ann.close()
            bob.close()
    assert all(each == list(range(number)) for each in handled.values())


@pytest.mark.parametrize("wait", ["listen", "receive"])
def test_close_ends_a_wait_in_another_thread(between_processes, wait):
    with Client("ann", *between_processes) as ann, Client("bob", *between_processes) as bob:
        waits = threading.Event()
        ann.add_eventHandler(lambda message: waits.set(), trigger=Trigger(TEXT, "hall"))

        def receive():
            while not ann.receive(60)["TYPE"].startswith("DATA"):
                pass
            waits.set()
            with pytest.raises(LinkClosed, match="'ann' has left"):
                ann.receive(60)

        with thread(ann.listen if wait == "listen" else receive):
            bob.send({"TYPE": TEXT.id, "TO_ROOM": "hall", "DATA": 1})
            assert waits.wait(10)
            ann.close()
        assert ann._endpoint._is_released
        with pytest.raises(LinkClosed, match="'ann' has left"):
            ann.send({"TYPE": TEXT.id, "TO": "bob", "DATA": 1})


def test_a_second_thread_that_receives_is_refused(between_processes):
    with Client("ann", *between_processes) as ann, Client("bob", *between_processes) as bob:
        listens = threading.Event()
        ann.add_eventHandler(lambda message: listens.set(), trigger=Trigger(TEXT, "hall"))
        with thread(ann.listen):
            bob.send({"TYPE": TEXT.id, "TO_ROOM": "hall", "DATA": 1})
            assert listens.wait(10)
            with pytest.raises(MessageError, match="'ann' receives in another thread already"):
                ann.receive(1)
            with pytest.raises(WaitTimeout, match="in room 'nowhere'"):
                ann.await_components("nowhere", 1, 0.05)
            ann.close()
