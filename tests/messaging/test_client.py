"""What a client can do, on each link."""

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE, MODEL_STATUS, Client, Trigger
from swarmsim.errors import AddressError, ComponentFailed, LinkClosed, MessageError, WaitTimeout

CUSTOM = MESSAGE_TYPE.DATA.CUSTOM


def to_room(room: str, **fields) -> dict:
    return {"TYPE": CUSTOM.id, "TO_ROOM": room, **fields}


def next_data(client: Client) -> dict:
    """Return the next message that is no membership command."""
    while True:
        message = client.receive(timeout=5)
        if not message["TYPE"].startswith("COMMAND/"):
            return message


@pytest.fixture
def two(address):
    with Client("ann", *address) as ann, Client("bob", *address) as bob:
        for client in (ann, bob):
            client.join_room("hall")
        yield ann, bob


def test_a_message_to_a_room_reaches_the_others_with_id_and_sender(two):
    ann, bob = two
    ann.send(to_room("hall", TEXT="hello"))
    received = next_data(bob)
    assert received["TEXT"] == "hello"
    assert received["SENT_BY"] == "ann"
    assert received["ID"]
    with pytest.raises(WaitTimeout):
        while True:
            assert ann.receive(timeout=0.05)["TYPE"].startswith("COMMAND/")


def test_a_message_to_several_rooms_goes_once_to_each(two):
    ann, bob = two
    bob.join_room("yard")
    ann.send(to_room(["hall", "yard"], TEXT="both"))
    assert [next_data(bob)["TO_ROOM"] for _ in range(2)] == ["hall", "yard"]


def test_a_direct_message_needs_no_room(two):
    ann, bob = two
    ann.send({"TYPE": CUSTOM.id, "TO": "bob", "TEXT": "psst"})
    assert next_data(bob)["TEXT"] == "psst"


def test_all_members_receive_membership_commands(two, address):
    ann, _ = two
    with Client("cid", *address) as cid:
        cid.join_room("hall")
        cid.leave_room("hall")
    types = []
    while len(types) < 4:
        message = ann.receive(timeout=5)
        if message["SENT_BY"] == "cid":
            types.append(message["TYPE"])
    assert types == ["COMMAND/REGISTER", "COMMAND/JOINROOM", "COMMAND/LEAVEROOM", "COMMAND/DISCONNECT"]


def test_messages_keep_their_order_and_their_arrays(two):
    ann, bob = two
    for i in range(50):
        ann.send(to_room("hall", I=i, X=np.full(i, i, np.float32)))
    for i in range(50):
        received = next_data(bob)
        assert received["I"] == i
        assert np.array_equal(received["X"], np.full(i, i, np.float32))


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"TO_ROOM": "hall"}, "needs a TYPE"),
        ({"TYPE": "DATA/COSTUM", "TO_ROOM": "hall"}, "did you mean 'DATA/CUSTOM'"),
        ({"TYPE": "DATA/CUSTOM", "TO_ROOM": "hal"}, "unknown room 'hal'; .*did you mean 'hall'"),
        ({"TYPE": "DATA/CUSTOM", "TO": "bop"}, "unknown component 'bop'; .*did you mean 'bob'"),
        ({"TYPE": "DATA/CUSTOM", "TO_ROOM": "hall", "X": object()}, "the value of X cannot be sent"),
        ("hello", "a message must be a dict, not str"),
    ],
)
def test_a_wrong_message_is_its_senders_error_and_the_swarm_continues(two, message, sentence):
    ann, bob = two
    with pytest.raises(MessageError, match=sentence):
        ann.send(message)
    ann.send(to_room("hall", TEXT="still here"))
    assert next_data(bob)["TEXT"] == "still here"


def test_receive_has_a_timeout(two):
    _, bob = two
    with pytest.raises(WaitTimeout, match="'bob'"):
        while True:
            bob.receive(timeout=0.05)


def test_after_closing_nothing_can_be_sent_or_received(two):
    ann, _ = two
    ann.close()
    ann.close()
    with pytest.raises(LinkClosed, match="'ann' has left"):
        ann.send(to_room("hall"))
    with pytest.raises(LinkClosed):
        while True:
            ann.receive(timeout=1)


def test_without_a_server_there_is_no_swarm():
    with pytest.raises(AddressError, match="no swarm runs at 127.0.0.1:8079"):
        Client("ann", "127.0.0.1", 8079)


@pytest.mark.parametrize("wrong", [("", 1), ("a/b", 1), ("here", "8080")])
def test_an_address_must_be_a_host_and_a_port(wrong):
    with pytest.raises(AddressError, match="must be a host name and a port number"):
        Client("ann", *wrong)


# --- handlers


def test_handlers_run_in_the_order_in_which_they_were_added(two):
    ann, _ = two
    called = []
    for i in range(5):
        ann.add_eventHandler(lambda m, i=i: called.append(i), CUSTOM, trigger=Trigger(CUSTOM, "hall"))
    ann._handle(to_room("hall"))
    assert called == [0, 1, 2, 3, 4]


def test_a_handler_receives_the_objects_that_its_parameters_name(address):
    with Client("ann", *address, memory=[], other=1) as ann:

        def remember(message, memory, factor=2):
            memory.append(message["N"] * factor)

        ann.add_eventHandler(remember, CUSTOM, trigger=Trigger(CUSTOM, "hall"))
        ann._handle(to_room("hall", N=21))
        assert ann._objects["memory"] == [42]
        with pytest.raises(MessageError, match=r"takes 'unknown', which its Client was not given"):
            ann.add_eventHandler(lambda m, unknown: None, CUSTOM, trigger=Trigger(CUSTOM, "hall"))


def test_a_reply_goes_to_rooms_and_component_with_root_id_and_model_status(two):
    ann, bob = two
    ann.add_eventHandler(lambda m: {"DATA": m["N"]}, MESSAGE_TYPE.DATA.TEXT, ["hall"], "bob", Trigger(CUSTOM, "door"))
    bob.send(to_room("door", N=7, ROOT_ID="root", MODEL_STATUS=MODEL_STATUS.TRAIN.id))
    ann._handle(next_data(ann))
    by_room, direct = next_data(bob), next_data(bob)
    for answer in (by_room, direct):
        assert answer["TYPE"] == "DATA/TEXT"
        assert (answer["DATA"], answer["ROOT_ID"], answer["MODEL_STATUS"], answer["SENT_BY"]) == (7, "root", 1, "ann")
    assert by_room["TO_ROOM"] == "hall"
    assert direct["TO"] == "bob"
    assert "TO_ROOM" not in direct


def test_a_reply_to_a_first_message_names_it_as_the_root(two):
    ann, bob = two
    ann.add_eventHandler(lambda m: {"TO": m["SENT_BY"]}, CUSTOM, trigger=Trigger(CUSTOM, "hall"))
    bob.send(to_room("hall", ID="the first"))
    ann._handle(next_data(ann))
    assert next_data(bob)["ROOT_ID"] == "the first"


def test_triggers():
    in_hall = Trigger(CUSTOM, "hall")
    assert in_hall.is_triggered(to_room("hall"))
    assert not in_hall.is_triggered(to_room("yard"))
    assert not in_hall.is_triggered({"TYPE": "DATA/TEXT", "TO_ROOM": "hall"})
    assert in_hall.is_triggered({"TYPE": CUSTOM.id, "TO": "ann"})
    assert not Trigger(CUSTOM, "hall", directmessage=False).is_triggered({"TYPE": CUSTOM.id, "TO": "ann"})
    assert Trigger([CUSTOM, MESSAGE_TYPE.DATA.TEXT]).is_triggered({"TYPE": "DATA/TEXT", "TO_ROOM": "anywhere"})


def test_replying_to_a_room_does_not_join_it(two):
    ann, _ = two
    ann.add_eventHandler(lambda m: None, CUSTOM, "yard", trigger=Trigger(CUSTOM, "door"))
    assert "yard" not in ann._me().rooms
    assert "door" in ann._me().rooms


def test_a_handler_without_trigger_or_with_an_invalid_reply_is_an_error(two):
    ann, _ = two
    with pytest.raises(MessageError, match="needs a trigger"):
        ann.add_eventHandler(lambda m: None, CUSTOM)
    ann.add_eventHandler(lambda m: "yes", CUSTOM, trigger=Trigger(CUSTOM, "hall"))
    with pytest.raises(MessageError, match="returns a dict or None, not str"):
        ann._handle(to_room("hall"))


# --- membership and logging


def test_await_components_defers_other_messages(two):
    ann, bob = two
    bob.send(to_room("hall", TEXT="early"))
    ann.await_components("hall", 2, timeout=1)
    with pytest.raises(
        WaitTimeout, match=r"'ann' waited 0\.05 s for 3 component\(s\) in room 'hall'; present: ann, bob"
    ):
        ann.await_components("hall", 3, timeout=0.05)
    assert next_data(ann)["TEXT"] == "early"


def test_an_observer_is_not_a_component_in_its_room(two, address):
    ann, _ = two
    with Client("watcher", *address, announce={"COMPONENTS": []}) as watcher:
        watcher.join_room("hall")
        assert ann.components_in("hall") == ["ann", "bob"]
        ann.send(to_room("hall", TEXT="hello"))
        assert next_data(watcher)["TEXT"] == "hello"


def test_forward_messages_are_copied_to_the_logging_room_while_logging_is_enabled(two, address):
    ann, _ = two
    forward = {"TYPE": "DATA/FORWARD", "TO_ROOM": "hall", "DATA": [1.0]}
    with Client("logger", *address) as logger:
        logger.join_room("_logging")
        ann.send(forward)
        log = next_data(logger)
        assert (log["TYPE"], log["SENDER"], log["ROOM"], log["MESSAGE"]["DATA"]) == (
            "LOG/MESSAGES",
            "ann",
            "hall",
            [1.0],
        )
        ann.send({"TYPE": "COMMAND/DISABLELOGGING", "TO_ROOM": "_command"})
        ann.send(forward)
        ann.send(to_room("_logging", TEXT="after"))
        assert next_data(logger)["TEXT"] == "after"


def test_inside_one_process_a_failing_handler_names_its_component():
    from swarmsim.messaging.links import serve_any, serving_on

    with serving_on("inprocess"):
        served = serve_any("tests")
    with Client("ann", *served.address) as ann, Client("bob", *served.address) as bob:
        ann.add_eventHandler(lambda m: 1 / 0, CUSTOM, trigger=Trigger(CUSTOM, "hall"))
        ann.listen()
        bob.send(to_room("hall"))
        with pytest.raises(ComponentFailed, match="component 'ann' failed: ZeroDivisionError") as caught:
            next_data(bob)
        assert "1 / 0" in caught.value.traceback_text
    served.close()


@pytest.mark.parametrize("message", [{"SENT_BY": "nobody"}, {"SENT_BY": "bob"}])
def test_a_requester_with_a_wrong_name_gets_no_reply_and_causes_no_error(address, message, caplog):
    with Client("bob", *address) as bob, Client("ann", *address) as ann:
        bob.add_eventHandler(lambda m: {"TO": m["SENT_BY"], "X": 1}, CUSTOM, trigger=Trigger(CUSTOM, "hall", False))
        ann.send({**to_room("hall"), **message})
        asked = next_data(bob)
        bob._handle(asked)
    assert ("bob dropped a reply: no component is named 'nobody'" in caplog.text) == (message["SENT_BY"] == "nobody")
