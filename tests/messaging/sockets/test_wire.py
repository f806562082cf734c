"""The wire, the hub and the handshake of the sockets link, without any socket."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsim import MESSAGE_TYPE
from swarmsim.errors import AddressError, MessageError
from swarmsim.messaging.rooms import Rooms
from swarmsim.messaging.sockets.handshake import check_exposure, proof, proves, shared_secret
from swarmsim.messaging.sockets.hub import Hub
from swarmsim.messaging.sockets.plain_server import heard
from swarmsim.messaging.sockets.wire import FrameError, Frames, Wire, unpacked

WIRE = Wire()
CUSTOM, COMMAND = MESSAGE_TYPE.DATA.CUSTOM.id, MESSAGE_TYPE.COMMAND


def test_a_frame_is_ten_bytes_of_length_in_digits_and_the_body():
    assert WIRE.frame(b'{"A": 1}') == b'8         {"A": 1}'
    assert Wire("latin-1", 4).frame(b"{}") == b"2   {}"


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(bodies, data):
    stream = b"".join(WIRE.frame(body) for body in bodies)
    frames, found = Frames(WIRE, 100), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += frames.bodies(stream[:cut])
        stream = stream[cut:]
    assert found == bodies


@pytest.mark.parametrize(
    "header", [b"-5        ", b"+5        ", b"1_0       ", b"ten       ", b" " * 10, b"101       "]
)
def test_a_header_that_tells_no_length_within_the_bound_is_an_error(header):
    with pytest.raises(FrameError):
        list(Frames(WIRE, 100).bodies(header))


@pytest.mark.parametrize(
    "settings", [{"format": "utf-16"}, {"format": "nope"}, {"header_length": 0}, {"header_length": "10"}]
)
def test_a_wire_that_cannot_be_is_refused(settings):
    with pytest.raises(AddressError, match=next(iter(settings))):
        Wire(**settings)


def test_a_body_is_json_and_with_arrays_comes_back_as_it_was():
    assert json.loads(WIRE.body({"TYPE": CUSTOM, "N": 1})) == {"TYPE": CUSTOM, "N": 1}
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    back = WIRE.message(WIRE.body({"A": array}))["A"]
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_for_a_plain_client_arrays_are_lists_and_each_component_has_a_message():
    message = {"ID": "m", "COMPONENT_ID": ["a", "b"], "LOGITS": np.eye(2), "N": 3}
    assert [json.loads(body) for body in WIRE.plain_bodies(message)] == [
        {"ID": "m.0", "COMPONENT_ID": "a", "LOGITS": [1.0, 0.0], "N": 3},
        {"ID": "m.1", "COMPONENT_ID": "b", "LOGITS": [0.0, 1.0], "N": 3},
    ]
    assert unpacked({"COMPONENT_ID": "a"}) == [{"COMPONENT_ID": "a"}]


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff", b"\0\1", b"NaN"])
def test_what_is_no_object_is_no_message(body):
    with pytest.raises(MessageError):
        WIRE.message(body)


def register(name: str, **more) -> dict:
    return {"TYPE": COMMAND.REGISTER.id, "NAME": name, "TO_ROOM": "_command", **more}


def test_a_hub_gives_plain_members_json_and_others_what_came():
    hub = Hub(WIRE)
    for key, extra in (("1", {}), ("2", {"SWARMSIM": 1}), ("3", {"SWARMSIM": 1})):
        hub.take(key, register("model", **extra), b"")
        hub.take(key, {"TYPE": COMMAND.JOINROOM.id, "ROOM": "hall", "TO_ROOM": "_command"}, b"")
    message = {"TYPE": CUSTOM, "TO_ROOM": "hall", "SENT_BY": "model", "A": np.ones(2)}
    body = WIRE.body(message)
    (extended, plain) = hub.take("3", message, body)
    assert (extended.to, extended.bodies) == (("2",), [body])
    assert (plain.to, json.loads(plain.bodies[0])["A"]) == (("1",), [1.0, 1.0])
    (farewell, _) = hub.farewell("2")
    assert WIRE.message(farewell.bodies[0])["MEMBER"] == "2"
    assert list(hub.rooms.members) == ["1", "3"]


def test_a_hub_names_who_sent_and_mirrors_data_while_logging_is_enabled():
    hub = Hub(WIRE)
    for key, name in (("1", "ann"), ("2", "logger")):
        hub.take(key, register(name), b"")
    hub.take("2", {"TYPE": COMMAND.JOINROOM.id, "ROOM": "_logging", "TO_ROOM": "_command"}, b"")
    said = {"TYPE": MESSAGE_TYPE.DATA.FORWARD.id, "TO": "ann", "DATA": 1}
    told = [json.loads(body) for delivery in hub.take("1", dict(said), b"") for body in delivery.bodies]
    assert [(m["TYPE"], m.get("SENT_BY") or m["SENDER"]) for m in told] == [
        (said["TYPE"], "ann"),
        ("LOG/MESSAGES", "ann"),
    ]
    hub.take("1", {"TYPE": COMMAND.DISABLELOGGING.id, "TO_ROOM": "_command"}, b"")
    assert len(hub.take("1", dict(said), b"")) == 1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (register("ann"), "already registered"),
        ({"TYPE": CUSTOM, "TO": "bob"}, "unknown component 'bob'"),
        ({"TYPE": CUSTOM, "TO_ROOM": "hal"}, "unknown room 'hal'"),
    ],
)
def test_a_hub_refuses_what_cannot_be_and_stays_as_it_was(message, sentence):
    hub = Hub(WIRE)
    hub.take("1", register("ann"), b"")
    before = hub.rooms
    with pytest.raises(MessageError, match=sentence):
        hub.take("1", message, b"")
    with pytest.raises(MessageError, match="register first"):
        hub.take("2", {"TYPE": CUSTOM, "TO": "ann"}, b"")
    assert hub.rooms is before


def test_a_proof_is_of_one_side_and_one_connection():
    shown = proof("s" * 16, "client", "a" * 32, "b" * 32)
    assert proves(shown, "s" * 16, "client", "a" * 32, "b" * 32)
    for secret, side, challenge, answer in (
        ("t" * 16, "client", "a" * 32, "b" * 32),
        ("s" * 16, "server", "a" * 32, "b" * 32),
        ("s" * 16, "client", "c" * 32, "b" * 32),
        ("s" * 16, "client", "a" * 32, "c" * 32),
    ):
        assert not proves(shown, secret, side, challenge, answer)
    with pytest.raises(AddressError, match="at least 16 characters, not 5"):
        shared_secret("short")


@pytest.mark.parametrize("server", ["0.0.0.0", "", "192.0.2.1"])
def test_other_machines_are_let_in_only_where_that_is_meant(server):
    with pytest.raises(AddressError, match="can be reached from other machines"):
        check_exposure(server, None, insecure=False)
    check_exposure(server, None, insecure=True)
    check_exposure(server, "s" * 16, insecure=False)
    check_exposure("127.0.0.1", None, insecure=False)


def test_hearsay_tells_those_apart_who_share_a_name_as_far_as_they_join():
    table = Rooms()
    join = {"TYPE": COMMAND.JOINROOM.id, "ROOM": "hall", "SENT_BY": "model", "TO_ROOM": "_command"}
    for message in (register("model"), register("model"), join, join):
        table = heard(table, message)
    assert [(m.name, "hall" in m.rooms) for m in table.members.values()] == [("model", True), ("model", True)]
