"""Our client at the reference's server, unchanged: what holds there as it does at ours, and what that server cannot do.

That server tells nobody who was there before, nor who has gone; whoever speaks to a room that never was loses its link.
"""

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE, Client, Trigger
from swarmsim.errors import LinkClosed
from tests.interop.conftest import (
    COMPONENTS,
    HOST,
    SECONDS,
    commands,
    data,
    heard,
    program,
    received,
    reference_component,
    text,
)

CUSTOM, FORWARD = MESSAGE_TYPE.DATA.CUSTOM.id, MESSAGE_TYPE.DATA.FORWARD.id
LOG = MESSAGE_TYPE.LOG.MESSAGE.id


@pytest.fixture
def two(reference_server, ours, either):
    """Clients in the room `hall`: one of ours, and another of either kind."""
    clients = ours("ann", reference_server), either("bob", reference_server)
    for client in clients:
        client.join_room("hall")
        heard(client)
    heard(clients[0])
    return clients


# --- who comes


def test_it_says_register_then_that_it_joins_the_command_room_then_its_rooms(reference_server, reference, ours):
    watcher = reference("watcher", reference_server)
    heard(watcher)
    ann = ours("ann", reference_server)
    ann.join_room("hall")
    ann.join_room("yard")
    ann.leave_room("hall")
    assert commands(heard(watcher), "ann") == [
        ("REGISTER", None),
        ("JOINROOM", "_command"),
        ("JOINROOM", "hall"),
        ("JOINROOM", "yard"),
        ("LEAVEROOM", "hall"),
    ]


def test_it_knows_itself_and_those_who_came_after_it(reference_server, either, ours):
    before = either("before", reference_server)
    before.join_room("hall")
    heard(before)
    ann = ours("ann", reference_server)
    ann.join_room("hall")
    assert [m.name for m in ann.rooms().members.values()] == ["ann"]
    for name in ("after", "twin", "twin"):
        client = either(name, reference_server)
        client.join_room("hall")
        heard(client)
    heard(ann)
    rooms = ann.rooms()
    assert [m.name for m in rooms.in_room("hall")] == ["ann", "after", "twin", "twin"]
    assert {m.rooms for m in rooms.members.values()} == {frozenset({"_command", "hall"})}


def test_it_comes_to_know_whoever_came_before_as_they_join_a_room(reference_server, reference, ours):
    before = reference("before", reference_server)
    ann = ours("ann", reference_server)
    before.join_room("yard")
    heard(before)
    heard(ann)
    assert [m.name for m in ann.rooms().in_room("yard")] == ["before"]
    before.send({"TYPE": MESSAGE_TYPE.COMMAND.LEAVEROOM.id, "ID": "1", "TO_ROOM": "_command", "ROOM": "yard"})
    heard(before)
    heard(ann)
    assert list(ann.rooms().in_room("yard")) == []


def test_it_can_wait_for_components_that_are_to_come(reference_server, reference, ours):
    ann = ours("ann", reference_server)
    for _ in range(2):
        reference("model", reference_server).join_room("observation")
    ann.await_components("observation", 2, SECONDS)
    assert ann.components_in("observation") == ["model", "model"]


def test_what_it_announces_is_known_to_ours_and_does_not_trouble_the_reference(reference_server, reference, ours):
    ann, watcher = ours("ann", reference_server), reference("watcher", reference_server)
    heard(watcher)
    models = ours("models", reference_server, announce={"COMPONENTS": ["model0", "model1"]})
    models.join_room("observation")
    heard(ann)
    assert ann.components_in("observation") == ["model0", "model1"]
    assert ("REGISTER", None) in commands(heard(watcher), "models")


# --- who gets what


def test_both_hear_each_other_in_a_room_but_nobody_itself(two):
    ann, bob = two
    for speaker, listener in ((ann, bob), (bob, ann)):
        speaker.send(text("hall", {"number": 1, "names": ["a", "ü"]}, ROOT_ID="root", MODEL_STATUS=1))
        assert data(heard(speaker)) == []
        told = [message for message in heard(listener) if message["TYPE"].startswith("DATA/")]
        assert [(m["SENT_BY"], m["TO_ROOM"], m["ROOT_ID"], m["MODEL_STATUS"], m["DATA"]) for m in told] == [
            (speaker.name, "hall", "root", 1, {"number": 1, "names": ["a", "ü"]})
        ]


def test_a_direct_message_reaches_its_receiver_alone(two, reference_server, reference):
    ann, bob = two
    other = reference("other", reference_server)
    for speaker, listener in ((ann, bob), (bob, ann)):
        heard(listener)
        speaker.send({"TYPE": CUSTOM, "ID": "1", "TO": listener.name, "DATA": "psst"})
        heard(speaker)
        assert [(m["SENT_BY"], m["DATA"]) for m in heard(listener) if m["TYPE"] == CUSTOM] == [(speaker.name, "psst")]
        assert data(heard(speaker) + heard(other)) == []


def test_both_of_two_clients_of_one_name_get_a_direct_message(reference_server, ours, either):
    twins = [ours("model", reference_server), either("model", reference_server)]
    for twin in twins:
        heard(twin)
    ann = ours("ann", reference_server)
    ann.send({"TYPE": CUSTOM, "TO": "model", "DATA": "to both"})
    heard(ann)
    assert [data(heard(twin)) for twin in twins] == [["to both"]] * 2


def test_whoever_has_left_a_room_hears_nothing_of_it(two, reference_server, reference):
    ann, bob = two
    stays = reference("stays", reference_server)  # this server forgets a room that nobody is in
    stays.join_room("hall")
    heard(stays)
    ann.leave_room("hall")
    bob.send(text("hall", "for the other"))
    heard(bob)
    assert data(heard(ann)) == []
    assert data(heard(stays)) == ["for the other"]


def test_long_messages_and_many_at_once_arrive_whole_and_in_order(two):
    ann, bob = two
    texts = ["x" * 300_000, *map(str, range(100)), "y" * 70_000]
    for speaker, listener in ((ann, bob), (bob, ann)):
        for told in texts:
            speaker.send(text("hall", told))
        got = [received(listener) for _ in texts]
        assert data(got) == texts
        heard(speaker)


def test_it_gets_the_mirror_of_data_in_the_logging_room(two, reference_server, ours):
    _, bob = two
    observer = ours("observer", reference_server)
    observer.join_room("_logging")
    bob.send({**text("hall", [1.5]), "TYPE": FORWARD})
    heard(bob)
    (log,) = [m for m in heard(observer) if m["TYPE"] == LOG]
    assert log["MESSAGE"]["DATA"] == [1.5]
    assert (log["SENDER"], log["ROOM"]) == ("bob", "hall")  # which that server leaves out


# --- handlers


def test_a_handler_of_the_reference_answers_ours(reference_server, ours):
    asker = ours("asker", reference_server)
    asker.join_room("answers")
    with reference_component("answerer", reference_server):
        asker.send(text("questions", "you", ROOT_ID="root", MODEL_STATUS=2))
        answers = []
        while not answers:
            answers = [m for m in [received(asker)] if m["TYPE"].startswith("DATA/")]
        assert [(m["DATA"], m["SENT_BY"], m["ROOT_ID"], m["MODEL_STATUS"]) for m in answers] == [
            ("hello you", "answerer", "root", 2)
        ]


def test_our_handlers_answer_the_reference(reference_server, reference, ours):
    asker = reference("asker", reference_server)
    asker.join_room("answers")
    heard(asker)
    answerer = ours("answerer", reference_server, greeting="hello")

    def answer(message, greeting):
        if message["DATA"] == "enough":
            answerer.close()
            return None
        return {"DATA": f"{greeting} {message['DATA']}"}

    trigger = Trigger(MESSAGE_TYPE.DATA.TEXT, "questions")
    answerer.add_eventHandler(answer, MESSAGE_TYPE.DATA.TEXT, ["answers"], trigger=trigger)
    asker.send(text("questions", "you", ROOT_ID="root"))
    asker.send(text("questions", "enough"))
    answerer.listen()
    answers = []
    while not answers:
        answers = [m for m in [received(asker)] if m["TYPE"].startswith("DATA/")]
    assert [(m["DATA"], m["SENT_BY"], m["ROOT_ID"]) for m in answers] == [("hello you", "answerer", "root")]


# --- what that server cannot pass on as it is


def test_arrays_arrive_as_lists(two):
    ann, bob = two
    ann.send(text("hall", {"weights": np.arange(4, dtype=np.float32).reshape(2, 2)}))
    heard(ann)
    assert data(heard(bob)) == [{"weights": [[0.0, 1.0], [2.0, 3.0]]}]


def test_a_message_of_several_components_arrives_as_one_of_each(two):
    ann, bob = two
    logits = np.arange(4, dtype=np.float64).reshape(2, 2)
    ann.send({"TYPE": CUSTOM, "TO_ROOM": "hall", "COMPONENT_ID": ["model0", "model1"], "LOGITS": logits, "STEP": 4})
    heard(ann)
    told = [m for m in heard(bob) if "LOGITS" in m]
    assert [(m["COMPONENT_ID"], m["LOGITS"], m["STEP"]) for m in told] == [
        ("model0", [0.0, 1.0], 4),
        ("model1", [2.0, 3.0], 4),
    ]


# --- who goes


def test_the_others_go_on_when_one_leaves(two):
    ann, bob = two
    ann.close()
    assert [m for m in heard(bob) if m["TYPE"] == MESSAGE_TYPE.COMMAND.DISCONNECT.id] == []
    with pytest.raises(LinkClosed):
        ann.send(text("hall", "too late"))
    assert heard(bob) == []


def test_a_room_that_never_was_costs_the_link_which_is_an_error(reference_server, ours):
    ann = ours("ann", reference_server)
    ann.send(text("nowhere", "lost"))
    with pytest.raises(LinkClosed):
        ann.receive(SECONDS)


def test_a_server_that_goes_is_noticed():
    with program(COMPONENTS, "server") as port:
        ann = Client("ann", HOST, int(port))
        ann.join_room("hall")
    with pytest.raises(LinkClosed):
        ann.receive(SECONDS)
    ann.close()
