import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmsim.errors import MessageError
from swarmsim.messaging import rooms
from swarmsim.messaging.rooms import CHANGES_ROOMS, Rooms, apply_command, decode_rooms, encode_rooms, receivers


def after(*commands: tuple[str, dict]) -> Rooms:
    table = Rooms()
    for member_id, command in commands:
        table = apply_command(table, {**command, "TYPE": f"COMMAND/{command['TYPE']}"}, member_id)
    return table


def register(name, **more):
    return {"TYPE": "REGISTER", "NAME": name, **more}


def join(room):
    return {"TYPE": "JOINROOM", "ROOM": room}


TABLE = after(
    ("1", register("environment")),
    ("2", register("models0-1", COMPONENTS=["model0", "model1"])),
    ("3", register("model", COLOUR="red")),
    ("4", register("model")),
    ("2", join("observation")),
    ("3", join("observation")),
    ("4", join("observation")),
)


def test_a_room_gets_a_message_but_its_sender_does_not():
    assert receivers(TABLE, {"TO_ROOM": "observation"}, "1") == ("2", "3", "4")
    assert receivers(TABLE, {"TO_ROOM": "observation"}, "3") == ("2", "4")


def test_an_observer_hears_a_message_before_those_who_act_on_it():
    table = apply_command(TABLE, {"TYPE": "COMMAND/REGISTER", "NAME": "observer", "COMPONENTS": []}, "5")
    table = apply_command(table, {"TYPE": "COMMAND/JOINROOM", "ROOM": "observation"}, "5")
    assert receivers(table, {"TO_ROOM": "observation"}, "1") == ("5", "2", "3", "4")


def test_sending_to_a_room_does_not_join_it():
    assert receivers(TABLE, {"TO_ROOM": "observation"}, "2") == ("3", "4")
    assert "1" not in receivers(TABLE, {"TO_ROOM": "observation"}, "4")


def test_a_direct_message_reaches_all_of_that_name_and_who_answers_for_it():
    assert receivers(TABLE, {"TO": "model"}, "1") == ("3", "4")
    assert receivers(TABLE, {"TO": "model1"}, "1") == ("2",)


def test_room_and_name_together_deliver_once_each():
    assert receivers(TABLE, {"TO_ROOM": "observation", "TO": "model1"}, "1") == ("2", "3", "4")


def test_all_hear_who_comes_since_everybody_is_in_the_command_room():
    assert receivers(TABLE, {"TO_ROOM": "_command"}, "4") == ("1", "2", "3")


def test_an_unknown_room_or_component_is_told_with_the_nearest():
    with pytest.raises(MessageError, match="did you mean 'observation'"):
        receivers(TABLE, {"TO_ROOM": "observatoin"}, "1")
    with pytest.raises(MessageError, match="did you mean 'environment'"):
        receivers(TABLE, {"TO": "enviroment"}, "1")


def test_an_emptied_room_stays_known_and_a_departed_component_is_no_error():
    table = apply_command(TABLE, {"TYPE": "COMMAND/DISCONNECT"}, "2")
    for member in ("3", "4"):
        table = apply_command(table, {"TYPE": "COMMAND/LEAVEROOM", "ROOM": "observation"}, member)
    assert receivers(table, {"TO_ROOM": "observation"}, "1") == ()
    assert receivers(table, {"TO": "model0"}, "1") == ()


def test_what_a_member_announces_is_kept():
    assert TABLE.members["3"].announced == {"COLOUR": "red"}
    assert TABLE.members["2"].components == ("model0", "model1")


@pytest.mark.parametrize(
    ("commands", "sentence"),
    [
        ([("1", register("a")), ("1", register("b"))], "'a' is already registered"),
        ([("1", join("observation"))], "COMMAND/JOINROOM before COMMAND/REGISTER"),
        ([("1", register(""))], "NAME is the component's name"),
        ([("1", register("a", COMPONENTS="abc"))], "COMPONENTS is a list"),
        ([("1", register("a")), ("1", join(5))], "ROOM is a room's name"),
        ([("1", register("a")), ("1", join(["b"]))], "ROOM is a room's name, .* not list"),
        ([("1", register("a")), ("1", {"TYPE": "LEAVEROOM"})], "ROOM is a room's name, .* not NoneType"),
        ([("1", {"TYPE": "REGISTER"})], "NAME is the component's name, .* not NoneType"),
        ([("1", register(np.arange(3)))], "NAME is the component's name, .* not ndarray"),
        ([("1", register("x" * 10**7))], "a text of 1 to 1,000 characters, not 10,000,000 of them"),
        ([("1", register("a", COMPONENTS=["b", 3]))], "each of COMPONENTS is a component's name, .* not int"),
        ([("1", register("a", COMPONENTS=["b"] * 100_001))], "100,000 components of one member at most, not 100,001"),
        ([("1", register("a", X=np.arange(3)))], "what COMMAND/REGISTER announces has to be JSON values: .*ndarray"),
        ([("1", register("a", X=[{1, 2}]))], "what COMMAND/REGISTER announces has to be JSON values"),
        ([("1", register("a", X="x" * 10**6))], "1,000,000 characters of JSON announced at most"),
    ],
)
def test_a_command_that_cannot_be_followed_is_told(commands, sentence):
    with pytest.raises(MessageError, match=sentence):
        after(*commands)


def test_a_table_survives_being_written_and_read():
    assert decode_rooms(encode_rooms(TABLE)) == TABLE


def test_members_rooms_and_the_memory_of_the_departed_are_bounded(monkeypatch):
    monkeypatch.setattr(rooms, "MOST_MEMBERS", 2)
    monkeypatch.setattr(rooms, "MOST_ROOMS", 4)
    monkeypatch.setattr(rooms, "MOST_DEPARTED", 3)
    table = after(("1", register("a")), ("2", register("b")), ("1", join("x")), ("1", join("y")), ("2", join("y")))
    with pytest.raises(MessageError, match="there can be 2 members in a swarm at most, not 3"):
        apply_command(table, {"TYPE": "COMMAND/REGISTER", "NAME": "c"}, "3")
    with pytest.raises(MessageError, match="there can be 4 rooms in a swarm at most, not 5"):
        apply_command(table, {"TYPE": "COMMAND/JOINROOM", "ROOM": "z"}, "1")
    for number in range(5):
        table = apply_command(table, {"TYPE": "COMMAND/DISCONNECT"}, "2")
        table = apply_command(table, {"TYPE": "COMMAND/REGISTER", "NAME": f"b{number}"}, "2")
    assert table.departed == ("b1", "b2", "b3")


VALUES = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.just(np.arange(3)) | st.just(object()),
    lambda inner: st.lists(inner) | st.dictionaries(st.one_of(st.text(), st.integers()), inner),
    max_leaves=5,
)
COMMANDS = st.fixed_dictionaries(
    {"TYPE": st.sampled_from([*CHANGES_ROOMS, "DATA/CUSTOM"]) | VALUES},
    optional={key: st.sampled_from(["a", ["b"]]) | VALUES for key in ("NAME", "ROOM", "COMPONENTS", "X")},
)


@settings(deadline=None)
@given(st.lists(st.tuples(COMMANDS, st.sampled_from(["1", "2"]))))
def test_any_command_leaves_a_table_that_can_be_written_or_is_told(commands):
    table = Rooms()
    for command, member_id in commands:
        with contextlib.suppress(MessageError):
            table = apply_command(table, command, member_id)
        written = json.dumps(encode_rooms(table))
        assert json.dumps(encode_rooms(decode_rooms(json.loads(written)))) == written
