"""What the tests beside the reference share: servers and components in processes of their own, and their talk."""

import select
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import swergio

import swarmsim
from swarmsim.messaging.endpoint import Address

SECONDS = 30.0  # no single wait lasts longer
HOST = "127.0.0.1"
COMPONENTS = Path(__file__).parent / "reference_components.py"
TEXT = swarmsim.MESSAGE_TYPE.DATA.TEXT.id
OUR_SERVER = (
    "import sys; from swarmsim import Server\n"
    f"with Server({HOST!r}, 0) as server: print(server.address[1], flush=True); sys.stdin.read()"
)

Client = swarmsim.Client | swergio.Client


@contextmanager
def program(*arguments: object) -> Iterator[str]:
    """Run a program of Python that ends by itself as its standard input closes; what it says first is returned."""
    command = [sys.executable, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert select.select([process.stdout], [], [], SECONDS)[0], f"{arguments} says nothing"
            said = process.stdout.readline().strip()
            assert said, f"{arguments} ended at once"
            yield said
        finally:
            process.kill()  # processes forked meanwhile keep its standard input open
            process.wait(SECONDS)


@contextmanager
def reference_component(kind: str, address: Address, *arguments: object) -> Iterator[None]:
    """Run a component of the reference that takes part at `address`."""
    with program(COMPONENTS, kind, address[1], *arguments):
        yield


@pytest.fixture
def our_server() -> Iterator[Address]:
    with program("-c", OUR_SERVER) as port:
        yield HOST, int(port)


@pytest.fixture
def reference_server() -> Iterator[Address]:
    with program(COMPONENTS, "server") as port:
        yield HOST, int(port)


@pytest.fixture
def reference(request) -> type:
    """Makes clients of the reference at an address, whose waits are bounded; they are closed after the test."""

    def make(name: str, address: Address, **objects) -> swergio.Client:
        client = swergio.Client(name, *address, "utf-8", 10, **objects)
        request.addfinalizer(client.client.close)
        client.client.settimeout(SECONDS)
        heard(client)  # its server drops whoever speaks directly while somebody has connected but not registered
        return client

    return make


@pytest.fixture
def ours(request) -> type:
    """Makes clients of this package at an address; they are closed after the test."""

    def make(name: str, address: Address, **settings) -> swarmsim.Client:
        client = swarmsim.Client(name, *address, **settings)
        request.addfinalizer(client.close)
        return client

    return make


def heard(client: Client) -> list[dict]:
    """Return all that has come for `client` by now; all that it has sent itself has arrived where it should."""
    mark = f"mark-{uuid.uuid4().hex}"
    client.send({"TYPE": TEXT, "ID": mark, "TO": client.name, "DATA": mark})
    messages = []
    while True:
        message = received(client)
        if message.get("DATA") == mark:
            return messages
        if not str(message.get("DATA")).startswith("mark-"):
            messages.append(message)


def received(client: Client) -> dict:
    message = client.receive(SECONDS) if isinstance(client, swarmsim.Client) else client.receive()
    assert message, "the link is lost, or nothing comes"
    return message


def data(messages: list[dict]) -> list:
    """Return the DATA of those messages that carry any."""
    return [message["DATA"] for message in messages if message["TYPE"].startswith("DATA/")]


def commands(messages: list[dict], sender: str) -> list[tuple]:
    """Return what kind of commands a sender said in `_command`, each with its room."""
    found = [message for message in messages if message["TYPE"].startswith("COMMAND/")]
    assert all(message["TO_ROOM"] == "_command" for message in found)
    return [
        (message["TYPE"].removeprefix("COMMAND/"), message.get("ROOM"))
        for message in found
        if message["SENT_BY"] == sender
    ]


def text(room: str, told: object, **fields: object) -> dict:
    return {"TYPE": TEXT, "ID": uuid.uuid4().hex, "TO_ROOM": room, "DATA": told, **fields}


@pytest.fixture(params=["reference", "ours"])
def either(request, reference, ours):
    """Makes clients of one kind, and then of the other."""
    return {"reference": reference, "ours": ours}[request.param]
