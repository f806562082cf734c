import numpy as np
import pytest

from swarmsim.errors import MessageError
from swarmsim.messaging.message import MESSAGE_TYPE, MODEL_STATUS, validate

TO_X = {"TYPE": "DATA/CUSTOM", "TO": "x"}


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
        ("hello", "a message must be a dict, not str"),
        ({"TO_ROOM": "control"}, "a message needs a TYPE"),
        ({"TYPE": "DATA/CUSTOMS", "TO_ROOM": "control"}, "did you mean 'DATA/CUSTOM'?"),
        ({"TYPE": 7, "TO_ROOM": "control"}, "TYPE must be a string, not int"),
        ({"TYPE": "DATA/FORWARD", "TO_ROOM": "control"}, "a DATA/FORWARD message needs the field DATA"),
        ({"TYPE": "DATA/CUSTOM"}, "needs TO_ROOM (a room) or TO (a component)"),
        ({"TYPE": "DATA/CUSTOM", "TO": 3}, "TO must be a name, not int"),
        ({"TYPE": "DATA/CUSTOM", "TO_ROOM": ["a", "b"]}, "TO_ROOM must be a name, not list"),
        ({"TYPE": ["DATA/CUSTOM"], "TO": "x"}, "TYPE must be a string, not list"),
        ({"TYPE": "x" * 10**7, "TO": "x"}, "unknown message TYPE 'xxx"),
        ({**TO_X, "SENT_BY": 3}, "SENT_BY must be a name, not int"),
        ({**TO_X, "ID": 1.5}, "ID must be a string or an integer, not float"),
        ({**TO_X, "ROOT_ID": np.arange(3)}, "ROOT_ID must be a string or an integer, not ndarray"),
        ({**TO_X, "ROOT_ID": ["a"]}, "ROOT_ID must be a string or an integer, not list"),
        ({**TO_X, "MODEL_STATUS": "1"}, "MODEL_STATUS must be an integer, not str"),
        ({**TO_X, "MODEL_STATUS": None}, "MODEL_STATUS must be an integer, not NoneType"),
    ],
)
def test_an_invalid_message_is_an_error_of_one_sentence(message, sentence):
    with pytest.raises(MessageError) as caught:
        validate(message)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("number", [1, np.int64(2), True])
def test_ids_are_strings_or_integers(number):
    assert validate({**TO_X, "ID": number, "ROOT_ID": number, "MODEL_STATUS": number}) is MESSAGE_TYPE.DATA.CUSTOM
    assert validate({**TO_X, "ID": "a", "ROOT_ID": "b"}) is MESSAGE_TYPE.DATA.CUSTOM
