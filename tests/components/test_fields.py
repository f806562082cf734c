"""What the fields of a message may hold, and what is refused in one sentence."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmsim.components import fields
from swarmsim.components.protocol import step
from swarmsim.errors import MessageRefused
from tests.conftest import long_after

READERS = {
    "flag": lambda m: fields.flag(m, "X"),
    "whole": lambda m: fields.integer(m, "X"),
    "number": lambda m: fields.number(m, "X"),
    "text": lambda m: fields.text(m, "X"),
    "texts": lambda m: fields.strings(m, "X"),
    "numbers": lambda m: fields.numbers(m, "X", np.float32),
    "rows": lambda m: step._rows(m, "X", 4),
    "by environment": lambda m: step._by_environment(m, "X", np.bool_, 2),
    "choices": lambda m: step._choices({**m, "ACTION": m.get("X")}, 1, 3),
    "by component": lambda m: fields.by_component(m, "X"),
    "genome": lambda m: fields.genome(m, "X", m.get("X"), 3),
    "component ids": lambda m: fields.component_ids({"COMPONENT_ID": m.get("X")}),
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.just(np.float64(3))
    | st.sampled_from([np.zeros(0), np.zeros((2, 3), np.uint64), np.full(4, np.nan), np.array([True])]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("reader", long_after(3, [*READERS]))
def test_whatever_a_field_holds_it_is_read_or_refused(reader):
    @given(ANYTHING)
    def check(value):
        for message in ({"X": value, "SENT_BY": "ann"}, {"X": value}):
            with suppress(MessageRefused), np.errstate(over="ignore"):
                READERS[reader](message)
        sentence = str(fields.invalid_field({"X": value, "SENT_BY": value}, "X", "something else"))
        assert "\n" not in sentence
        assert len(sentence) < 250

    check()


@pytest.mark.parametrize(
    ("reader", "value", "sentence"),
    [
        ("flag", 1, "X from 'ann' is true or false, not 1"),
        ("whole", True, "X from 'ann' is a whole number from 0, not True"),
        ("number", "3", "X from 'ann' is a number, not '3'"),
        ("text", 5, "X from 'ann' is a text, not 5"),
        ("rows", [1.0, 2.0], "X from 'ann' is one vector of 4 finite numbers for each environment, not [1.0, 2.0]"),
        ("numbers", np.array([True]), "X from 'ann' is made of numbers, not an array (1,)"),
        ("choices", 3, "ACTION from 'ann' is made of actions from 0 to 2, not 3"),
        ("choices", 2**63, "ACTION from 'ann' is made of actions from 0 to 2, not 9223372036854775808"),
        ("genome", [0.0, 1.0], "X from 'ann' is made of 3 finite weights for each component, not [0.0, 1.0]"),
    ],
)
def test_what_is_refused_is_told_with_its_sender_and_what_is_allowed(reader, value, sentence):
    with pytest.raises(MessageRefused) as refused:
        READERS[reader]({"X": value, "SENT_BY": "ann"})
    assert str(refused.value) == sentence


def test_the_forms_that_components_send_are_read_alike():
    assert step._by_environment({"X": 1}, "X", np.float32, 1).tolist() == [1.0]
    assert step._by_environment({"X": [1, 2.5]}, "X", np.float32, 2).tolist() == [1.0, 2.5]
    assert step._rows({"X": [1, 2, 3, 4]}, "X", 2).tolist() == [[1, 2], [3, 4]]
    assert fields.component_ids({"COMPONENT_ID": "a"}) == fields.component_ids({"COMPONENT_ID": ["a"]}) == ("a",)
    assert fields.by_component({"X": {"a": 1, "b": 2}}, "X", ["b", "c"]) == {"b": 2}
