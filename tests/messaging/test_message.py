import pytest

from swarmsim.errors import MessageError
from swarmsim.messaging.message import MESSAGE_TYPE, MODEL_STATUS, validate


def test_a_type_is_found_by_its_id():
    assert MESSAGE_TYPE.DATA.CUSTOM.id == "DATA/CUSTOM"
    assert MESSAGE_TYPE.by_id("DATA/CUSTOM") is MESSAGE_TYPE.DATA.CUSTOM
    assert MESSAGE_TYPE.by_id("LOG/MESSAGES") is MESSAGE_TYPE.LOG.MESSAGE
    assert MESSAGE_TYPE.by_id("DATA/NOTHING") is None
    assert MESSAGE_TYPE.by_id(["DATA/CUSTOM"]) is None


def test_a_type_checks_its_required_fields():
    assert MESSAGE_TYPE.COMMAND.REGISTER.check_fields({"NAME": "x"})
    assert not MESSAGE_TYPE.COMMAND.REGISTER.check_fields({})
    assert MESSAGE_TYPE.LOG.KPI.missing_fields({"KPI": 1, "TIME": 2}) == ("COMPONENT", "VALUE")


def test_a_model_status_is_found_by_its_id():
    assert MODEL_STATUS.by_id(2) is MODEL_STATUS.VALIDATE
    assert MODEL_STATUS.by_id(3) is None


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("hello", "a message is a dict, not str"),
        ({"TO_ROOM": "control"}, "a message needs a TYPE"),
        ({"TYPE": "DATA/CUSTOMS", "TO_ROOM": "control"}, "did you mean 'DATA/CUSTOM'?"),
        ({"TYPE": 7, "TO_ROOM": "control"}, "unknown message TYPE 7"),
        ({"TYPE": "DATA/FORWARD", "TO_ROOM": "control"}, "a DATA/FORWARD message needs the field DATA"),
        ({"TYPE": "DATA/CUSTOM"}, "needs TO_ROOM (a room) or TO (a component)"),
        ({"TYPE": "DATA/CUSTOM", "TO": 3}, "TO is a name, not int"),
    ],
)
def test_what_is_no_message_is_told_in_one_sentence(message, sentence):
    with pytest.raises(MessageError) as caught:
        validate(message)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
