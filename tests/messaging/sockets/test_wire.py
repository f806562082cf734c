"""The wire, the hub and the handshake of the sockets link, without any socket."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsim import MESSAGE_TYPE
from swarmsim.errors import AddressError, MessageError
from swarmsim.messaging.rooms import Rooms
from swarmsim.messaging.sockets.handshake import check_exposure, compute_hmac, shared_secret, verify_hmac
from swarmsim.messaging.sockets.hub import Hub
from swarmsim.messaging.sockets.plain_server import rooms_after
from swarmsim.messaging.sockets.wire import FrameDecoder, FrameError, Wire, split_by_component

WIRE = Wire()
CUSTOM, COMMAND = MESSAGE_TYPE.DATA.CUSTOM.id, MESSAGE_TYPE.COMMAND


def test_a_frame_is_ten_bytes_of_length_in_digits_and_the_body():
    assert WIRE.frame(b'{"A": 1}') == b'8         {"A": 1}'
    assert Wire("latin-1", 4).frame(b"{}") == b"2   {}"


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_frames_are_decoded_however_the_stream_is_cut(bodies, data):
    stream = b"".join(WIRE.frame(body) for body in bodies)
    decoder, decoded = FrameDecoder(WIRE, 100), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        decoded += decoder.feed(stream[:cut])
        stream = stream[cut:]
    assert decoded == bodies


@pytest.mark.parametrize(
    "header", [b"-5        ", b"+5        ", b"1_0       ", b"ten       ", b" " * 10, b"101       "]
)
def test_a_header_without_a_valid_length_is_an_error(header):
    with pytest.raises(FrameError):
        list(FrameDecoder(WIRE, 100).feed(header))


@pytest.mark.parametrize(
    "settings", [{"format": "utf-16"}, {"format": "nope"}, {"header_length": 0}, {"header_length": "10"}]
)
def test_invalid_wire_settings_are_refused(settings):
    with pytest.raises(AddressError, match=next(iter(settings))):
        Wire(**settings)


def test_a_body_is_json_and_arrays_survive_a_round_trip():
    assert json.loads(WIRE.encode({"TYPE": CUSTOM, "N": 1})) == {"TYPE": CUSTOM, "N": 1}
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    back = WIRE.decode(WIRE.encode({"A": array}))["A"]
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_a_plain_client_gets_lists_for_arrays_and_one_message_per_component():
    message = {"ID": "m", "COMPONENT_ID": ["a", "b"], "LOGITS": np.eye(2), "N": 3}
    assert [json.loads(body) for body in WIRE.encode_plain(message)] == [
        {"ID": "m.0", "COMPONENT_ID": "a", "LOGITS": [1.0, 0.0], "N": 3},
        {"ID": "m.1", "COMPONENT_ID": "b", "LOGITS": [0.0, 1.0], "N": 3},
    ]
    assert split_by_component({"COMPONENT_ID": "a"}) == [{"COMPONENT_ID": "a"}]


@pytest.mark.parametrize("body", [b"[1]", b"{", b"\xff", b"\0\1", b"NaN"])
def test_a_body_that_is_not_a_json_object_is_an_error(body):
    with pytest.raises(MessageError):
        WIRE.decode(body)


def register(name: str, **more) -> dict:
    return {"TYPE": COMMAND.REGISTER.id, "NAME": name, "TO_ROOM": "_command", **more}


def test_a_hub_sends_plain_members_json_and_others_the_body_unchanged():
    hub = Hub(WIRE)
    for key, extra in (("1", {}), ("2", {"SWARMSIM": 1}), ("3", {"SWARMSIM": 1})):
        hub.handle(key, register("model", **extra), b"")
        hub.handle(key, {"TYPE": COMMAND.JOINROOM.id, "ROOM": "hall", "TO_ROOM": "_command"}, b"")
    message = {"TYPE": CUSTOM, "TO_ROOM": "hall", "SENT_BY": "model", "A": np.ones(2)}
    body = WIRE.encode(message)
    (extended, plain) = hub.handle("3", message, body)
    assert (extended.receivers, extended.bodies) == (("2",), [body])
    assert (plain.receivers, json.loads(plain.bodies[0])["A"]) == (("1",), [1.0, 1.0])
    (disconnect, _) = hub.disconnect("2")
    assert WIRE.decode(disconnect.bodies[0])["MEMBER"] == "2"
    assert list(hub.rooms.members) == ["1", "3"]


def test_a_hub_adds_the_sender_and_mirrors_data_while_logging_is_enabled():
    hub = Hub(WIRE)
    for key, name in (("1", "ann"), ("2", "logger")):
        hub.handle(key, register(name), b"")
    hub.handle("2", {"TYPE": COMMAND.JOINROOM.id, "ROOM": "_logging", "TO_ROOM": "_command"}, b"")
    message = {"TYPE": MESSAGE_TYPE.DATA.FORWARD.id, "TO": "ann", "DATA": 1}
    received = [json.loads(body) for delivery in hub.handle("1", dict(message), b"") for body in delivery.bodies]
    assert [(m["TYPE"], m.get("SENT_BY") or m["SENDER"]) for m in received] == [
        (message["TYPE"], "ann"),
        ("LOG/MESSAGES", "ann"),
    ]
    hub.handle("1", {"TYPE": COMMAND.DISABLELOGGING.id, "TO_ROOM": "_command"}, b"")
    assert len(hub.handle("1", dict(message), b"")) == 1


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (register("ann"), "already registered"),
        ({"TYPE": CUSTOM, "TO": "bob"}, "unknown component 'bob'"),
        ({"TYPE": CUSTOM, "TO_ROOM": "hal"}, "unknown room 'hal'"),
    ],
)
def test_a_hub_refuses_an_invalid_message_and_keeps_its_rooms(message, sentence):
    hub = Hub(WIRE)
    hub.handle("1", register("ann"), b"")
    before = hub.rooms
    with pytest.raises(MessageError, match=sentence):
        hub.handle("1", message, b"")
    with pytest.raises(MessageError, match="register first"):
        hub.handle("2", {"TYPE": CUSTOM, "TO": "ann"}, b"")
    assert hub.rooms is before


def test_an_hmac_is_valid_for_one_side_of_one_connection():
    received = compute_hmac("s" * 16, "client", "a" * 32, "b" * 32)
    assert verify_hmac(received, "s" * 16, "client", "a" * 32, "b" * 32)
    for secret, side, server_nonce, client_nonce in (
        ("t" * 16, "client", "a" * 32, "b" * 32),
        ("s" * 16, "server", "a" * 32, "b" * 32),
        ("s" * 16, "client", "c" * 32, "b" * 32),
        ("s" * 16, "client", "a" * 32, "c" * 32),
    ):
        assert not verify_hmac(received, secret, side, server_nonce, client_nonce)
    with pytest.raises(AddressError, match="at least 16 characters, not 5"):
        shared_secret("short")


@pytest.mark.parametrize("server", ["0.0.0.0", "", "192.0.2.1"])
def test_a_server_that_other_machines_can_reach_needs_a_secret_or_insecure(server):
    with pytest.raises(AddressError, match="can be reached from other machines"):
        check_exposure(server, None, insecure=False)
    check_exposure(server, None, insecure=True)
    check_exposure(server, "s" * 16, insecure=False)
    check_exposure("127.0.0.1", None, insecure=False)


def test_at_a_plain_server_members_that_share_a_name_each_join_a_room():
    rooms = Rooms()
    join = {"TYPE": COMMAND.JOINROOM.id, "ROOM": "hall", "SENT_BY": "model", "TO_ROOM": "_command"}
    for message in (register("model"), register("model"), join, join):
        rooms = rooms_after(rooms, message)
    assert [(m.name, "hall" in m.rooms) for m in rooms.members.values()] == [("model", True), ("model", True)]
