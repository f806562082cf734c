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


def test_an_observer_receives_a_message_before_components():
    table = apply_command(TABLE, {"TYPE": "COMMAND/REGISTER", "NAME": "observer", "COMPONENTS": []}, "5")
    table = apply_command(table, {"TYPE": "COMMAND/JOINROOM", "ROOM": "observation"}, "5")
    assert receivers(table, {"TO_ROOM": "observation"}, "1") == ("5", "2", "3", "4")


def test_sending_to_a_room_does_not_join_it():
    assert receivers(TABLE, {"TO_ROOM": "observation"}, "2") == ("3", "4")
    assert "1" not in receivers(TABLE, {"TO_ROOM": "observation"}, "4")


def test_a_direct_message_reaches_all_of_that_name_and_the_member_that_represents_it():
    assert receivers(TABLE, {"TO": "model"}, "1") == ("3", "4")
    assert receivers(TABLE, {"TO": "model1"}, "1") == ("2",)


def test_room_and_name_together_deliver_once_each():
    assert receivers(TABLE, {"TO_ROOM": "observation", "TO": "model1"}, "1") == ("2", "3", "4")


def test_all_members_are_in_the_command_room():
    assert receivers(TABLE, {"TO_ROOM": "_command"}, "4") == ("2", "3", "1")


def test_the_first_component_receives_last_what_others_must_have_when_it_goes_on():
    assert receivers(TABLE, {"TO_ROOM": "_command"}, "2")[-1] == "1"


def test_an_unknown_room_or_component_is_an_error_with_the_nearest_name():
    with pytest.raises(MessageError, match="did you mean 'observation'"):
        receivers(TABLE, {"TO_ROOM": "observatoin"}, "1")
    with pytest.raises(MessageError, match="did you mean 'environment'"):
        receivers(TABLE, {"TO": "enviroment"}, "1")


def test_messages_to_an_empty_room_or_a_departed_component_are_no_error():
    table = apply_command(TABLE, {"TYPE": "COMMAND/DISCONNECT"}, "2")
    for member in ("3", "4"):
        table = apply_command(table, {"TYPE": "COMMAND/LEAVEROOM", "ROOM": "observation"}, member)
    assert receivers(table, {"TO_ROOM": "observation"}, "1") == ()
    assert receivers(table, {"TO": "model0"}, "1") == ()


def test_announced_fields_are_stored():
    assert TABLE.members["3"].announced == {"COLOUR": "red"}
    assert TABLE.members["2"].components == ("model0", "model1")


@pytest.mark.parametrize(
    ("commands", "sentence"),
    [
        ([("1", register("a")), ("1", register("b"))], "'a' is already registered"),
        ([("1", join("observation"))], "COMMAND/JOINROOM before COMMAND/REGISTER"),
        ([("1", register(""))], "NAME must be the component's name"),
        ([("1", register("a", COMPONENTS="abc"))], "COMPONENTS must be a list"),
        ([("1", register("a")), ("1", join(5))], "ROOM must be a room's name"),
        ([("1", register("a")), ("1", join(["b"]))], "ROOM must be a room's name, .* not list"),
        ([("1", register("a")), ("1", {"TYPE": "LEAVEROOM"})], "ROOM must be a room's name, .* not NoneType"),
        ([("1", {"TYPE": "REGISTER"})], "NAME must be the component's name, .* not NoneType"),
        ([("1", register(np.arange(3)))], "NAME must be the component's name, .* not ndarray"),
        ([("1", register("x" * 10**7))], "a string of 1 to 1,000 characters, not 10,000,000 characters"),
        ([("1", register("a", COMPONENTS=["b", 3]))], "each of COMPONENTS must be a component's name, .* not int"),
        ([("1", register("a", COMPONENTS=["b"] * 100_001))], "at most 100,000 components of one member, not 100,001"),
        ([("1", register("a", X=np.arange(3)))], "the fields of COMMAND/REGISTER must be JSON values: .*ndarray"),
        ([("1", register("a", X=[{1, 2}]))], "the fields of COMMAND/REGISTER must be JSON values"),
        ([("1", register("a", X="x" * 10**6))], "at most 1,000,000 characters of JSON announced"),
    ],
)
def test_an_invalid_command_is_an_error(commands, sentence):
    with pytest.raises(MessageError, match=sentence):
        after(*commands)


def test_decoding_inverts_encoding():
    assert decode_rooms(encode_rooms(TABLE)) == TABLE


def test_members_rooms_and_departed_names_are_bounded(monkeypatch):
    monkeypatch.setattr(rooms, "MAX_MEMBERS", 2)
    monkeypatch.setattr(rooms, "MAX_ROOMS", 4)
    monkeypatch.setattr(rooms, "MAX_DEPARTED", 3)
    table = after(("1", register("a")), ("2", register("b")), ("1", join("x")), ("1", join("y")), ("2", join("y")))
    with pytest.raises(MessageError, match="there can be at most 2 members in a swarm, not 3"):
        apply_command(table, {"TYPE": "COMMAND/REGISTER", "NAME": "c"}, "3")
    with pytest.raises(MessageError, match="there can be at most 4 rooms in a swarm, not 5"):
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
def test_any_command_is_an_error_or_leaves_a_table_that_can_be_encoded(commands):
    table = Rooms()
    for command, member_id in commands:
        with contextlib.suppress(MessageError):
            table = apply_command(table, command, member_id)
        written = json.dumps(encode_rooms(table))
        assert json.dumps(encode_rooms(decode_rooms(json.loads(written)))) == written
