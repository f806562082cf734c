"""Faults of users' handlers: dicts that they return again, messages that wait, and clients that close within one."""

import numpy as np
import pytest

from swarmsim import MESSAGE_TYPE, Client, SwarmError, Trigger
from swarmsim.errors import Stalled, WaitTimeout
from swarmsim.messaging.links import serve_any, serving_on

CUSTOM, TEXT = MESSAGE_TYPE.DATA.CUSTOM, MESSAGE_TYPE.DATA.TEXT


@pytest.fixture
def inprocess_address():
    with serving_on("inprocess"):
        served = serve_any("tests")
    yield served.address
    served.close()


@pytest.fixture
def asked(inprocess_address):
    """Return a function that sends a question to a handler, and returns the answers to its sender and to others."""
    with (
        Client("ann", *inprocess_address) as ann,
        Client("bob", *inprocess_address) as bob,
        Client("voter", *inprocess_address) as voter,
    ):
        for client in (ann, bob):
            client.join_room("hall")

        def ask(handler, *handlers, to=None, **response) -> tuple[list, list]:
            for each in (handler, *handlers):
                voter.add_eventHandler(each, trigger=Trigger(TEXT, "hall"), **response)
            voter.listen()
            ann.send(
                {"TYPE": TEXT.id, **(to or {"TO_ROOM": "hall"}), "DATA": "hi", "ID": "question", "MODEL_STATUS": 2}
            )
            return answers_to(ann), answers_to(bob)

        yield ask


def answers_to(client: Client) -> list:
    found = []
    while True:
        try:
            message = client.receive(1)
        except Stalled:
            return found
        if message["SENT_BY"] == "voter" and message["TYPE"].startswith("DATA"):
            found.append(message)


@pytest.mark.parametrize(
    "handler",
    [
        lambda message: message,
        lambda message: {**message},
        lambda message: message.update(MORE=1) or message,
        lambda message: {key: value for key, value in message.items() if key != "ID"},
    ],
)
def test_a_returned_question_is_an_answer_in_the_answerers_name(asked, handler):
    [answer], others = asked(handler, responseType=CUSTOM, responseComponent="ann")
    assert not others
    assert answer["ID"] != "question"
    assert (answer["ROOT_ID"], answer["MODEL_STATUS"], answer["DATA"]) == ("question", 2, "hi")
    assert "TO_ROOM" not in answer


def test_a_returned_question_without_an_address_goes_to_its_room(asked):
    mine, bobs = asked(lambda message: message, responseType=CUSTOM)
    assert mine == bobs
    assert [answer["TO_ROOM"] for answer in mine] == ["hall"]


def test_a_returned_direct_question_goes_to_its_sender(asked):
    mine, bobs = asked(lambda message: message, responseType=CUSTOM, to={"TO": "voter"})
    assert [answer["TO"] for answer in mine] == ["ann"]
    assert not bobs


def test_a_copy_with_an_address_of_its_own_goes_there_alone(asked):
    mine, bobs = asked(lambda message: {**message, "TO": "bob"}, responseType=CUSTOM)
    assert not mine
    assert [answer["TO"] for answer in bobs] == ["bob"]


def test_answers_to_several_addresses_have_ids_of_their_own(asked):
    mine, bobs = asked(lambda message: message, responseType=CUSTOM, responseRooms=["hall"], responseComponent="bob")
    assert len({answer["ID"] for answer in bobs}) == 2
    assert len(mine) == 1


def test_what_one_handler_does_to_a_message_the_next_one_does_not_see(asked):
    seen = []

    def spoil(message):
        message.clear()

    asked(spoil, lambda message: seen.append(message["DATA"]))
    assert seen == ["hi"]


def test_a_dict_that_is_returned_again_stays_as_it_is(asked):
    yes = {"DATA": "yes"}
    [answer], _ = asked(lambda message: yes, responseType=TEXT, responseComponent="ann")
    assert answer["ROOT_ID"] == "question"
    assert yes == {"DATA": "yes"}


def test_messages_that_waited_are_handled_in_order_however_many(address):
    number, handled = 1_500, []

    class Enough(Exception):
        pass

    def handle(message):
        handled.append(message["DATA"])
        if len(handled) == number:
            raise Enough

    with Client("late", *address) as late, Client("ann", *address) as ann:
        late.add_eventHandler(handle, trigger=Trigger(TEXT, "hall"))
        for i in range(number):
            ann.send({"TYPE": TEXT.id, "TO_ROOM": "hall", "DATA": i})
        ann.send({"TYPE": TEXT.id, "TO": "late", "DATA": "go"})
        with pytest.raises(WaitTimeout):
            late.await_components("nowhere", 1, 0.4)
        with pytest.raises(Enough):
            late.listen()
    assert handled == list(range(number))


def test_a_handler_that_waits_gets_what_comes_for_its_component_inside_one_process_too(inprocess_address):
    with Client("waiter", *inprocess_address) as waiter, Client("ann", *inprocess_address) as ann:
        order = []

        def handle(message):
            order.append(message["DATA"])
            if message["DATA"] < 300:
                with pytest.raises(WaitTimeout):
                    waiter.await_components("nowhere", 1, 5.0)
            order.append(-message["DATA"])

        waiter.add_eventHandler(handle, trigger=Trigger(TEXT, "hall"))
        waiter.listen()
        for i in range(1, 400):
            ann.send({"TYPE": TEXT.id, "TO_ROOM": "hall", "DATA": i})
        with pytest.raises(Stalled):
            while True:
                ann.receive(5)
        assert order == [each for i in range(1, 400) for each in (i, -i)]


def test_a_client_that_its_handler_closes_ends_listening_in_peace(address):
    with Client("ann", *address) as ann, Client("leaver", *address) as leaver:
        called = []

        def leave(message):
            called.append(message["DATA"])
            leaver.close()
            return {"TO": "ann"}  # not sent any more

        for handler in (leave, lambda message: called.append("after")):
            leaver.add_eventHandler(handler, CUSTOM, trigger=Trigger(TEXT, "hall"))
        for i in range(3):
            ann.send({"TYPE": TEXT.id, "TO_ROOM": "hall", "DATA": i})
        leaver.listen()
        with pytest.raises(SwarmError):
            while True:
                message = ann.receive(5)
                if message["TYPE"] == "COMMAND/DISCONNECT":
                    raise WaitTimeout
                assert message["TYPE"].startswith("COMMAND/")
        assert called == [0]


def test_receivers_do_not_share_what_arrives(address):
    with Client("ann", *address) as ann, Client("bob", *address) as bob, Client("cid", *address) as cid:
        for client in (bob, cid):
            client.join_room("hall")
        ann.send({"TYPE": CUSTOM.id, "TO_ROOM": "hall", "X": np.zeros(3), "L": [1]})
        for client in (bob, cid):
            message = client.receive(5)
            while message["TYPE"] != CUSTOM.id:
                message = client.receive(5)
            assert message["L"] == [1]
            message["L"].append(2)
            message["TYPE"] = "spoilt"
