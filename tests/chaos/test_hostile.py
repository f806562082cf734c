"""Hostile peers, by fault or by intent: the server reports the error, drops the peer if it must, and serves all others.

Each test measures the round trips of two well-behaved clients before and during the attack: `pytest -s` shows them.
"""

import contextlib
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarmsim import MESSAGE_TYPE, Client
from swarmsim.errors import AddressError, SwarmError
from swarmsim.messaging.sockets import endpoint as sockets
from tests.conftest import ROOT

CUSTOM = MESSAGE_TYPE.DATA.CUSTOM.id
REGISTER, JOIN = MESSAGE_TYPE.COMMAND.REGISTER.id, MESSAGE_TYPE.COMMAND.JOINROOM.id
SECRET = "a secret of the tests alone"
SERVER = """
import sys
from swarmsim import Server
from swarmsim.messaging.sockets import connection, server as socket_server

socket_server.REGISTER_SECONDS = 1.0
connection.BACKLOG_BYTES = 1 << 22
server = Server("127.0.0.1", 0, secret=sys.argv[1] or None)
print(server.address[1], flush=True)
server.start()
"""
GROWTH_MIB = 40  # of the server's memory, at most


class Served:
    """A server in a separate process, and two clients that exchange messages through it."""

    def __init__(self, folder: Path, secret: str = "") -> None:
        self.secret = secret or None
        self.log = folder / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, secret],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
        )
        self.address = "127.0.0.1", int(self.process.stdout.readline())
        self.ann, self.bob = (Client(name, *self.address, secret=self.secret) for name in ("ann", "bob"))
        for client in (self.ann, self.bob):
            client.join_room("hall")
        self.n_asked = 0
        self.before = self.round_trip()
        self.memory = self._memory()

    def round_trip(self, n: int = 200) -> float:
        """Return the median milliseconds of `n` round trips; check that each message arrives, in order."""
        seconds = []
        for _ in range(n):
            self.n_asked += 1
            start = time.perf_counter()
            for sender, receiver in ((self.ann, self.bob), (self.bob, self.ann)):
                sender.send({"TYPE": CUSTOM, "TO": receiver.name, "N": self.n_asked})
                assert self.next_numbered(receiver)["N"] == self.n_asked
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds) * 1000

    @staticmethod
    def next_numbered(client: Client) -> dict:
        while "N" not in (message := client.receive(timeout=20)):
            pass
        return message

    def check_service(self) -> None:
        """Check that the two clients are served as before, and that the server's memory has not grown."""
        during = self.round_trip()
        print(f"  round trip {self.before:.3f} ms before, {during:.3f} ms during the attack")
        assert self.process.poll() is None
        assert self._memory() - self.memory < GROWTH_MIB
        assert sorted(m.name for m in self.ann.rooms().members.values() if "hall" in m.rooms) == ["ann", "bob"]

    def _memory(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def end(self) -> None:
        for client in (self.ann, self.bob):
            client.close()
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def served(tmp_path):
    served = Served(tmp_path)
    yield served
    served.end()


@pytest.fixture
def with_secret(tmp_path):
    served = Served(tmp_path, SECRET)
    yield served
    served.end()


class Peer:
    """A raw TCP connection."""

    def __init__(self, served: Served, *data: bytes | dict) -> None:
        self.link = socket.create_connection(served.address, timeout=20)
        for item in data:
            self.send(item)

    def send(self, data: bytes | dict) -> None:
        self.link.sendall(frame(data) if isinstance(data, dict) else data)

    def next_message(self) -> dict:
        header = self._read(10)
        return json.loads(self._read(int(header)))

    def _read(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            more = self.link.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def is_dropped(self) -> bool:
        """Wait until the server has closed this connection."""
        with contextlib.suppress(ConnectionResetError):
            while self.link.recv(1 << 16):
                pass
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()


def frame(message: dict) -> bytes:
    body = json.dumps(message).encode()
    return f"{len(body):<10}".encode() + body


def register(name: str = "mallory") -> dict:
    return {"TYPE": REGISTER, "NAME": name, "TO_ROOM": "_command", "ID": "r"}


def test_half_a_header_and_nothing_more(served):
    with Peer(served, b"12   ") as peer:
        served.check_service()
        assert peer.is_dropped()
    assert "did not register within 1 s" in served.log.read_text()


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b"ten       ", "a header must be the length of its body in digits"),
        (b"-5        ", "a header must be the length of its body in digits"),
        (b"+5        ", "a header must be the length of its body in digits"),
        (b"          ", "a header must be the length of its body in digits"),
        (b"1000000000", "bytes at most, not 1,000,000,000"),
    ],
)
@pytest.mark.parametrize("registered", [False, True])
def test_an_invalid_or_too_large_length_in_a_header(served, header, sentence, registered):
    with Peer(served, *([register()] if registered else []), header) as peer:
        assert sentence in peer.next_message()["ERROR"]
        assert peer.is_dropped()
    served.check_service()


@pytest.mark.parametrize(
    "body", [b"{not JSON", b"\xff\xfe", b"[1, 2]", b"3", b'{"TYPE": "DATA/NOPE", "TO": "ann"}', b"\0\0\0"]
)
def test_an_invalid_body_is_reported_to_its_sender_which_stays_connected(served, body):
    with Peer(served, register(), f"{len(body):<10}".encode() + body) as peer:
        assert peer.next_message()["ERROR"]
        served.check_service()
        peer.send({"TYPE": CUSTOM, "TO": "ann", "N": -1})
        assert served.next_numbered(served.ann)["N"] == -1


def test_a_peer_that_never_reads_is_dropped_by_name_and_blocks_no_other(served):
    with Peer(served, register(), {"TYPE": JOIN, "ROOM": "hall", "TO_ROOM": "_command"}):
        while "mallory" not in {member.name for member in served.ann.rooms().in_room("hall")}:
            served.round_trip(1)
        start, n = time.perf_counter(), 0
        while "mallory" in {member.name for member in served.ann.rooms().members.values()}:
            n += 1
            served.ann.send({"TYPE": CUSTOM, "TO_ROOM": "hall", "N": n, "TEXT": "x" * 60_000})
            assert served.next_numbered(served.bob)["N"] == n
            assert n < 5000
        print(f"  {(time.perf_counter() - start) / n * 1000:.3f} ms per message of 60 kB meanwhile, dropped after {n}")
    served.check_service()
    assert "dropped a connection: 'mallory':" in served.log.read_text()
    assert "bytes wait for it that it has not read" in served.log.read_text()


def test_a_peer_that_registers_too_slowly_is_dropped(served):
    with Peer(served) as peer:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in frame(register()):
                peer.send(bytes([byte]))
                until = time.monotonic() + 0.05
                while time.monotonic() < until:
                    served.round_trip(10)
            pytest.fail("it registered, a byte at a time")
        assert peer.is_dropped()
    served.check_service()


def test_a_message_that_a_member_sends_byte_by_byte_is_delivered(served):
    with Peer(served, register()) as peer:
        for byte in frame({"TYPE": CUSTOM, "TO": "ann", "N": -1}):
            peer.send(bytes([byte]))
            served.bob.rooms()
        assert served.next_numbered(served.ann)["N"] == -1
    served.check_service()


def test_a_thousand_silent_connections(served):
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(Peer(served)) for _ in range(1000)]
            served.check_service()
            assert peers[0].is_dropped()
            with Client("late", *served.address) as late:  # a client that registers is still accepted
                assert late.rooms().members
            assert peers[-1].is_dropped()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


@pytest.mark.parametrize("sent", [(), (register(),)], ids=["at once", "after registering"])
def test_a_storm_of_short_connections(served, sent):
    for number in range(1000):
        with Peer(served, *sent) as peer:
            if number % 2:  # close with a reset
                peer.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if number % 50 == 0:
            served.round_trip(2)
    served.check_service()
    descriptors = len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))
    assert descriptors < 50


def test_a_second_registration_is_an_error_and_changes_nothing(served):
    with Peer(served, register(), register("ann")) as peer:
        assert "'mallory' is already registered" in peer.next_message()["ERROR"]
        served.check_service()
        assert [m.name for m in served.ann.rooms().members.values()] == ["ann", "bob", "mallory"]


@pytest.mark.parametrize(
    "message",
    [{"TYPE": JOIN, "ROOM": "hall", "TO_ROOM": "_command"}, {"TYPE": CUSTOM, "TO": "ann", "N": -1}],
    ids=["JOINROOM", "a message"],
)
def test_a_message_before_registration_is_an_error(served, message):
    with Peer(served, message) as peer:
        assert "before COMMAND/REGISTER: register first" in peer.next_message()["ERROR"]
        served.check_service()


def test_a_wrong_secret_or_none_is_refused(with_secret, monkeypatch):
    monkeypatch.delenv("SWARMSIM_SECRET", raising=False)
    with pytest.raises(SwarmError, match="this server asks for a secret that this client does not share"):
        Client("mallory", *with_secret.address, secret="another secret of the tests")
    with pytest.raises(AddressError, match="asks for a shared secret, and 'mallory' has none"):
        Client("mallory", *with_secret.address)
    with_secret.check_service()


def test_a_plain_client_is_challenged_and_cannot_send_messages(with_secret):
    with Peer(with_secret, register(), {"TYPE": CUSTOM, "TO": "ann", "N": -1}) as peer:
        assert peer.next_message()["LINK"] == "CHALLENGE"
        with_secret.check_service()  # its clients would receive the message
        assert peer.is_dropped()


def test_a_replayed_handshake_is_refused(with_secret, monkeypatch):
    frames = []

    def recorded(endpoint, frame):
        frames.append(frame)
        write(endpoint, frame)

    write = sockets.SocketsEndpoint._write
    with monkeypatch.context() as patch:
        patch.setattr(sockets.SocketsEndpoint, "_write", recorded)
        with Client("carol", *with_secret.address, secret=SECRET):
            pass
    assert any(b"PROVE" in frame for frame in frames)
    with Peer(with_secret, b"".join(frames)) as replaying:  # at once, since it is dropped in between
        assert replaying.next_message()["LINK"] == "CHALLENGE"
        assert "does not share" in replaying.next_message()["ERROR"]
        assert replaying.is_dropped()
    with_secret.check_service()


def test_a_server_that_does_not_know_the_secret_is_detected(served):
    with pytest.raises(AddressError, match="does not share the secret of 'carol'"):
        Client("carol", *served.address, secret=SECRET)
    served.check_service()
