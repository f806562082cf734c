"""Hostile peers, by fault or by intent: the server says what is wrong, drops whom it cannot bear, and serves others.

Each test measures round trips of two good clients, before and while somebody is hostile: `pytest -s` shows them.
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
GROWTH_MIB = 40  # of the server, whatever is done to it


class Served:
    """A server in a process of its own, and two clients who talk through it."""

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
        """Return the median milliseconds of so many round trips, each of which comes back, in its order."""
        taken = []
        for _ in range(n):
            self.n_asked += 1
            began = time.perf_counter()
            for speaker, hearer in ((self.ann, self.bob), (self.bob, self.ann)):
                speaker.send({"TYPE": CUSTOM, "TO": hearer.name, "N": self.n_asked})
                assert self.heard(hearer)["N"] == self.n_asked
            taken.append(time.perf_counter() - began)
        return statistics.median(taken) * 1000

    @staticmethod
    def heard(client: Client) -> dict:
        while "N" not in (message := client.receive(timeout=20)):
            pass
        return message

    def serves_on(self) -> None:
        """See that the two talk as before, and that the server is as large as it was."""
        during = self.round_trip()
        print(f"  round trip {self.before:.3f} ms before, {during:.3f} ms beside it")
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
def sealed(tmp_path):
    served = Served(tmp_path, SECRET)
    yield served
    served.end()


class Peer:
    """A bare connection."""

    def __init__(self, served: Served, *sent: bytes | dict) -> None:
        self.link = socket.create_connection(served.address, timeout=20)
        for what in sent:
            self.send(what)

    def send(self, what: bytes | dict) -> None:
        self.link.sendall(frame(what) if isinstance(what, dict) else what)

    def told(self) -> dict:
        """Return the next message."""
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
        served.serves_on()
        assert peer.is_dropped()
    assert "did not register within 1 s" in served.log.read_text()


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b"ten       ", "a header tells the length of its body in digits"),
        (b"-5        ", "a header tells the length of its body in digits"),
        (b"+5        ", "a header tells the length of its body in digits"),
        (b"          ", "a header tells the length of its body in digits"),
        (b"1000000000", "bytes at most, not 1,000,000,000"),
    ],
)
@pytest.mark.parametrize("registered", [False, True])
def test_a_header_that_tells_no_length_or_too_long_a_one(served, header, sentence, registered):
    with Peer(served, *([register()] if registered else []), header) as peer:
        assert sentence in peer.told()["ERROR"]
        assert peer.is_dropped()
    served.serves_on()


@pytest.mark.parametrize(
    "body", [b"{not JSON", b"\xff\xfe", b"[1, 2]", b"3", b'{"TYPE": "DATA/NOPE", "TO": "ann"}', b"\0\0\0"]
)
def test_a_body_that_is_no_message_is_told_to_its_sender_who_stays(served, body):
    with Peer(served, register(), f"{len(body):<10}".encode() + body) as peer:
        assert peer.told()["ERROR"]
        served.serves_on()
        peer.send({"TYPE": CUSTOM, "TO": "ann", "N": -1})
        assert served.heard(served.ann)["N"] == -1


def test_a_peer_that_never_reads_is_dropped_by_name_and_nobody_waits_for_it(served):
    with Peer(served, register(), {"TYPE": JOIN, "ROOM": "hall", "TO_ROOM": "_command"}):
        while "mallory" not in {member.name for member in served.ann.rooms().in_room("hall")}:
            served.round_trip(1)
        began, n = time.perf_counter(), 0
        while "mallory" in {member.name for member in served.ann.rooms().members.values()}:
            n += 1
            served.ann.send({"TYPE": CUSTOM, "TO_ROOM": "hall", "N": n, "TEXT": "x" * 60_000})
            assert served.heard(served.bob)["N"] == n
            assert n < 5000
        print(f"  {(time.perf_counter() - began) / n * 1000:.3f} ms a message of 60 kB beside it, dropped after {n}")
    served.serves_on()
    assert "dropped a connection: 'mallory':" in served.log.read_text()
    assert "bytes wait for it, which it has not read" in served.log.read_text()


def test_a_byte_now_and_then_is_dropped_before_it_is_a_registration(served):
    with Peer(served) as peer:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in frame(register()):
                peer.send(bytes([byte]))
                until = time.monotonic() + 0.05
                while time.monotonic() < until:
                    served.round_trip(10)
            pytest.fail("it registered, a byte at a time")
        assert peer.is_dropped()
    served.serves_on()


def test_a_member_that_sends_a_byte_at_a_time_is_heard_in_the_end(served):
    with Peer(served, register()) as peer:
        for byte in frame({"TYPE": CUSTOM, "TO": "ann", "N": -1}):
            peer.send(bytes([byte]))
            served.bob.rooms()
        assert served.heard(served.ann)["N"] == -1
    served.serves_on()


def test_a_thousand_connections_that_say_nothing(served):
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(Peer(served)) for _ in range(1000)]
            served.serves_on()
            assert peers[0].is_dropped()
            with Client("late", *served.address) as late:  # there is room for one who registers
                assert late.rooms().members
            assert peers[-1].is_dropped()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


@pytest.mark.parametrize("sent", [(), (register(),)], ids=["at once", "after registering"])
def test_a_storm_of_connections_that_come_and_go(served, sent):
    for number in range(1000):
        with Peer(served, *sent) as peer:
            if number % 2:  # with a reset instead of an end
                peer.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if number % 50 == 0:
            served.round_trip(2)
    served.serves_on()
    descriptors = len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))
    assert descriptors < 50


def test_who_registers_twice_is_told_so_and_stays_who_it_was(served):
    with Peer(served, register(), register("ann")) as peer:
        assert "'mallory' is already registered" in peer.told()["ERROR"]
        served.serves_on()
        assert [m.name for m in served.ann.rooms().members.values()] == ["ann", "bob", "mallory"]


@pytest.mark.parametrize(
    "message",
    [{"TYPE": JOIN, "ROOM": "hall", "TO_ROOM": "_command"}, {"TYPE": CUSTOM, "TO": "ann", "N": -1}],
    ids=["JOINROOM", "a message"],
)
def test_who_has_not_registered_is_told_to_do_so(served, message):
    with Peer(served, message) as peer:
        assert "before COMMAND/REGISTER: register first" in peer.told()["ERROR"]
        served.serves_on()


def test_a_wrong_secret_or_none_is_refused(sealed, monkeypatch):
    monkeypatch.delenv("SWARMSIM_SECRET", raising=False)
    with pytest.raises(SwarmError, match="this server asks for a secret that this client does not share"):
        Client("mallory", *sealed.address, secret="another secret of the tests")
    with pytest.raises(AddressError, match="asks for a shared secret, and 'mallory' has none"):
        Client("mallory", *sealed.address)
    sealed.serves_on()


def test_a_plain_client_is_asked_for_its_proof_and_gets_no_further(sealed):
    with Peer(sealed, register(), {"TYPE": CUSTOM, "TO": "ann", "N": -1}) as peer:
        assert peer.told()["LINK"] == "CHALLENGE"
        sealed.serves_on()  # which would hear what is not for them
        assert peer.is_dropped()


def test_a_handshake_that_is_said_again_is_refused(sealed, monkeypatch):
    said = []

    def recorded(endpoint, frame):
        said.append(frame)
        write(endpoint, frame)

    write = sockets.SocketsEndpoint._write
    with monkeypatch.context() as patch:
        patch.setattr(sockets.SocketsEndpoint, "_write", recorded)
        with Client("carol", *sealed.address, secret=SECRET):
            pass
    assert any(b"PROVE" in frame for frame in said)
    with Peer(sealed, *said) as replaying:
        assert replaying.told()["LINK"] == "CHALLENGE"
        assert "does not share" in replaying.told()["ERROR"]
        assert replaying.is_dropped()
    sealed.serves_on()


def test_a_server_that_does_not_share_the_secret_is_found_out(served):
    with pytest.raises(AddressError, match="does not share the secret of 'carol'"):
        Client("carol", *served.address, secret=SECRET)
    served.serves_on()
