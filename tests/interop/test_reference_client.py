"""The reference's client, unchanged, at our server: by itself, and together with our client."""

import numpy as np
import pytest
import swergio

from swarmsim import MESSAGE_TYPE
from tests.interop.conftest import commands, data, heard, received, reference_component, text

CUSTOM, FORWARD, GRADIENT = (
    kind.id for kind in (MESSAGE_TYPE.DATA.CUSTOM, MESSAGE_TYPE.DATA.FORWARD, MESSAGE_TYPE.DATA.GRADIENT)
)
COMMAND, LOG = MESSAGE_TYPE.COMMAND, MESSAGE_TYPE.LOG


def command(kind, **fields) -> dict:
    return {"TYPE": kind.id, "ID": "1", "TO_ROOM": "_command", **fields}


@pytest.fixture
def two(our_server, reference, either):
    """Clients in the room `hall`: one of the reference, and another of either kind."""
    clients = reference("ann", our_server), either("bob", our_server)
    for client in clients:
        client.join_room("hall")
        heard(client)
    heard(clients[0])
    return clients


# --- who comes and goes


def test_all_hear_a_client_of_the_reference_register_join_leave_and_go(our_server, reference, either):
    watcher = either("watcher", our_server)
    heard(watcher)
    ann = reference("ann", our_server)
    ann.join_room("hall")
    ann.send(command(COMMAND.LEAVEROOM, ROOM="hall"))
    heard(ann)
    ann.close()
    told = []
    while ("DISCONNECT", None) not in commands(told, "ann"):
        told.append(received(watcher))
    assert commands(told, "ann") == [
        ("REGISTER", None),
        ("JOINROOM", "_command"),
        ("JOINROOM", "hall"),
        ("LEAVEROOM", "hall"),
        ("DISCONNECT", None),
    ]


def test_one_that_goes_without_a_word_is_heard_to_disconnect_once(our_server, reference, either):
    watcher, ann = either("watcher", our_server), reference("ann", our_server)
    heard(ann)
    ann.client.close()
    told = []
    while ("DISCONNECT", None) not in commands(told, "ann"):
        told.append(received(watcher))
    assert commands(told + heard(watcher), "ann").count(("DISCONNECT", None)) == 1


def test_a_client_of_the_reference_hears_ours_register_join_leave_and_go(our_server, reference, ours):
    watcher = reference("watcher", our_server)
    heard(watcher)
    bob = ours("bob", our_server)
    bob.join_room("hall")
    bob.leave_room("hall")
    bob.close()
    told = []
    while ("DISCONNECT", None) not in commands(told, "bob"):
        told.append(received(watcher))
    assert [what for what in commands(told, "bob") if what != ("JOINROOM", "_command")] == [
        ("REGISTER", None),
        ("JOINROOM", "hall"),
        ("LEAVEROOM", "hall"),
        ("DISCONNECT", None),
    ]


def test_our_client_knows_where_those_of_the_reference_are(our_server, reference, ours):
    before = reference("ann", our_server)
    before.join_room("hall")
    heard(before)
    bob = ours("bob", our_server)
    after = reference("ann", our_server)
    after.join_room("yard")
    heard(after)
    heard(bob)
    rooms = bob.rooms()
    assert [member.name for member in rooms.members.values()] == ["ann", "bob", "ann"]
    assert [member.name for member in rooms.in_room("hall")] == ["ann"]
    assert [sorted(member.rooms) for member in rooms.in_room("yard")] == [["_command", "yard"]]
    before.close()
    while len(bob.rooms().members) > 2:
        received(bob)
    assert [member.name for member in bob.rooms().in_room("yard")] == ["ann"]


# --- who gets what


def test_a_rooms_message_reaches_the_others_in_it_and_not_its_sender(two, our_server, reference):
    ann, bob = two
    outsider = reference("outsider", our_server)
    ann.send(text("hall", "from ann"))
    heard(ann)
    bob.send(text("hall", "from bob"))
    heard(bob)
    assert data(heard(ann)) == ["from bob"]
    assert data(heard(outsider)) == []


def test_both_hear_each_other_in_a_room_under_their_names(two):
    ann, bob = two
    for speaker, listener in ((ann, bob), (bob, ann)):
        speaker.send(text("hall", {"number": 1, "names": ["a", "ü"]}, ROOT_ID="root", MODEL_STATUS=1))
        heard(speaker)
        told = [message for message in heard(listener) if message["TYPE"].startswith("DATA/")]
        assert [(m["SENT_BY"], m["TO_ROOM"], m["ROOT_ID"], m["MODEL_STATUS"], m["DATA"]) for m in told] == [
            (speaker.name, "hall", "root", 1, {"number": 1, "names": ["a", "ü"]})
        ]


def test_a_direct_message_reaches_its_receiver_alone(two, our_server, reference):
    ann, bob = two
    other = reference("other", our_server)
    for speaker, listener in ((ann, bob), (bob, ann)):
        heard(listener)
        speaker.send({"TYPE": CUSTOM, "ID": "1", "TO": listener.name, "DATA": "psst"})
        heard(speaker)
        assert [(m["SENT_BY"], m["DATA"]) for m in heard(listener) if m["TYPE"] == CUSTOM] == [(speaker.name, "psst")]
        assert data(heard(speaker) + heard(other)) == []


def test_both_of_two_clients_of_one_name_get_a_direct_message(our_server, reference, either):
    twins = [reference("model", our_server), either("model", our_server)]
    for twin in twins:
        heard(twin)
    ann = either("ann", our_server)
    ann.send({"TYPE": CUSTOM, "ID": "1", "TO": "model", "DATA": "to both"})
    heard(ann)
    assert [data(heard(twin)) for twin in twins] == [["to both"]] * 2


def test_two_clients_of_one_name_hear_each_other_in_a_room(our_server, reference, either):
    twins = [reference("model", our_server), either("model", our_server)]
    for twin in twins:
        twin.join_room("hall")
        heard(twin)
    for speaker, listener in (twins, reversed(twins)):
        speaker.send(text("hall", "from the other"))
        heard(speaker)
        assert data(heard(listener)) == ["from the other"]


def test_whoever_has_left_a_room_hears_nothing_of_it(two):
    ann, bob = two
    ann.send(command(COMMAND.LEAVEROOM, ROOM="hall"))
    heard(ann)
    bob.send(text("hall", "for nobody"))
    heard(bob)
    assert data(heard(ann)) == []


def test_long_messages_and_many_at_once_arrive_whole_and_in_order(two):
    ann, bob = two
    texts = ["x" * 300_000, *map(str, range(300)), "y" * 70_000]
    for speaker, listener in ((ann, bob), (bob, ann)):
        for told in texts:
            speaker.send(text("hall", told))
        got = [received(listener) for _ in texts]
        assert data(got) == texts
        heard(speaker)


# --- the mirror of messages


@pytest.mark.parametrize("kind", [FORWARD, GRADIENT])
def test_data_is_mirrored_to_the_logging_room_until_that_is_disabled(two, our_server, reference, kind):
    ann, bob = two
    observer = reference("observer", our_server)
    observer.join_room("_logging")
    heard(observer)

    def mirrored(speaker, told):
        speaker.send({**text("hall", told), "TYPE": kind})
        heard(speaker)
        return [m for m in heard(observer) if m["TYPE"] == LOG.MESSAGE.id]

    for speaker in (ann, bob):
        log = mirrored(speaker, [1.5, 2])
        assert [(m["TO_ROOM"], m["SENDER"], m["ROOM"]) for m in log] == [("_logging", speaker.name, "hall")]
        assert log[0]["MESSAGE"]["DATA"] == [1.5, 2]
        assert log[0]["MESSAGE"]["SENT_BY"] == speaker.name
    ann.send(command(COMMAND.DISABLELOGGING))
    heard(ann)
    assert [mirrored(speaker, 0) for speaker in (ann, bob)] == [[], []]
    ann.send(command(COMMAND.ENABLELOGGING))
    heard(ann)
    assert len(mirrored(ann, 0)) == 1


def test_other_data_is_not_mirrored(two, our_server, reference):
    ann, _ = two
    observer = reference("observer", our_server)
    observer.join_room("_logging")
    heard(observer)
    ann.send(text("hall", "aside"))
    heard(ann)
    assert [m for m in heard(observer) if m["TYPE"].startswith(("DATA", "LOG"))] == []


# --- handlers


def test_a_handler_of_the_reference_answers_in_its_rooms(our_server, either):
    with reference_component("answerer", our_server):
        asker = either("asker", our_server)
        asker.join_room("answers")
        asker.join_room("echoes")
        heard(asker)
        asker.send(text("questions", "you", ROOT_ID="root", MODEL_STATUS=2))
        answers = []
        while len(answers) < 2:
            answers += [m for m in [received(asker)] if m["TYPE"].startswith("DATA/")]
        assert sorted(m["TO_ROOM"] for m in answers) == ["answers", "echoes"]
        assert {(m["DATA"], m["SENT_BY"], m["ROOT_ID"], m["MODEL_STATUS"]) for m in answers} == {
            ("hello you", "answerer", "root", 2)
        }


def test_a_trigger_of_the_reference_is_met_by_our_messages(two):
    ann, bob = two
    trigger = swergio.Trigger(swergio.MESSAGE_TYPE.DATA.TEXT, "hall")
    bob.send(text("hall", "one"))
    bob.send({**text("hall", "two"), "TYPE": CUSTOM})
    heard(bob)
    told = [m for m in heard(ann) if m["TYPE"].startswith("DATA/")]
    assert [trigger.is_triggered(m) for m in told] == [True, False]


# --- what the reference cannot read as it is


def test_arrays_reach_the_reference_as_lists_and_ours_as_they_are(our_server, reference, ours):
    ann, bob, cid = reference("ann", our_server), ours("bob", our_server), ours("cid", our_server)
    for client in (ann, bob, cid):
        client.join_room("hall")
        heard(client)
    told = {"weights": np.arange(6, dtype=np.float32).reshape(2, 3), "flags": np.array([True, False])}
    bob.send(text("hall", told))
    heard(bob)
    assert data(heard(ann)) == [{"weights": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], "flags": [True, False]}]
    (got,) = data(heard(cid))
    assert isinstance(got["weights"], np.ndarray)
    assert np.array_equal(got["weights"], told["weights"])
    ann.send(text("hall", [[1.5, 2.5]]))
    heard(ann)
    assert [data(heard(client)) for client in (bob, cid)] == [[[[1.5, 2.5]]]] * 2


def test_a_message_of_several_components_reaches_the_reference_as_one_of_each(our_server, reference, ours):
    ann, bob, cid = reference("ann", our_server), ours("bob", our_server), ours("cid", our_server)
    for client in (ann, bob, cid):
        client.join_room("hall")
        heard(client)
    names = ["model0", "model1", "model2"]
    logits = np.arange(6, dtype=np.float64).reshape(3, 2)
    bob.send({"TYPE": CUSTOM, "TO_ROOM": "hall", "ROOT_ID": "r", "COMPONENT_ID": names, "LOGITS": logits, "STEP": 4})
    heard(bob)
    told = [m for m in heard(ann) if "LOGITS" in m]
    assert [(m["COMPONENT_ID"], m["LOGITS"]) for m in told] == list(zip(names, logits.tolist(), strict=True))
    assert {(m["SENT_BY"], m["ROOT_ID"], m["STEP"]) for m in told} == {("bob", "r", 4)}
    assert len({m["ID"] for m in told}) == 3
    (packed,) = [m for m in heard(cid) if "LOGITS" in m]
    assert packed["COMPONENT_ID"] == names


def test_a_message_that_is_none_is_refused_in_a_way_that_the_reference_bears(two):
    ann, bob = two
    ann.send({"TYPE": "DATA/NONSENSE", "ID": "1", "TO_ROOM": "hall"})
    ann.send(text("a room that never was", "lost"))
    refusals = [m["TYPE"] for m in heard(ann) if "ERROR" in m]
    assert refusals == [LOG.CUSTOM.id] * 2
    ann.send(text("hall", "still here"))
    heard(ann)
    assert data(heard(bob)) == ["still here"]
