"""Exactly the valid messages are read from a pipe, whole and in order, whatever else is in it."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmsim.messaging import codec
from swarmsim.messaging.queues import fragments
from swarmsim.messaging.queues.fragments import (
    MAGIC,
    FragmentReader,
    encode_fragment,
    member_id_of,
    sender_number,
    split_body,
)

ANN, BOB = sender_number(7, 0), sender_number(4_000_000, 3)


def written(body, sender=ANN, position=0):
    return [encode_fragment(piece, sender, 5, position or len(body)) for piece in split_body(body)]


def body_of(length):
    """Return a body that contains the magic, so that finding the magic is not enough."""
    return (MAGIC + length.to_bytes(4, "little")) * (length // 8) + b"." * (length % 8)


class Received:
    """A reader, its messages, and its rejections."""

    def __init__(self):
        self.rejections = []
        self.reader = FragmentReader(lambda *rejection: self.rejections.append(rejection))
        self.arrived = []

    def read(self, data, emptied=True):
        self.arrived += [(sender, body) for sender, _, _, body, _ in self.reader.read(data, emptied=emptied)]
        return self


def test_a_sender_number_holds_process_and_count():
    assert [member_id_of(sender) for sender in (ANN, BOB)] == ["7-0", "4000000-3"]
    assert sender_number(7, 1 << 16) == ANN


@pytest.mark.parametrize("length", [1, 4066, 4067, 4068, 8134, 8135, 100_000])
def test_a_message_is_written_in_atomic_fragments(length):
    pieces = written(body_of(length))
    assert max(map(len, pieces)) <= 4096
    assert Received().read(b"".join(pieces)).arrived == [(ANN, body_of(length))]


def test_header_fields_arrive_with_the_message():
    for floods in (False, True):
        data = encode_fragment(split_body(b"x")[0], BOB, 65_535, 1 << 40, floods)
        assert Received().reader.read(data, emptied=True) == [(BOB, 65_535, 1 << 40, b"x", floods)]


GARBAGE = {
    "three bytes": b"abc",
    "a magic": MAGIC,
    "a beginning of a magic": MAGIC[:3],
    "magics": MAGIC * 1000,
    "zeros": bytes(5000),
    "a header that claims more than it brings": written(body_of(4000))[0][:100],
    "half a header": written(b"x")[0][:13],
    "an impossible length": MAGIC + b"\xff" * 60,
    "another payload": written(b"yes")[0][:-3] + b"no!",
    "another sender": written(b"x")[0].replace(ANN.to_bytes(8, "little"), BOB.to_bytes(8, "little")),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_the_reader_resynchronises_after_garbage(garbage):
    received = Received().read(written(b"before")[0] + garbage + written(b"behind")[0])
    assert received.arrived == [(ANN, b"before"), (ANN, b"behind")]
    assert received.rejections == [("skipped invalid bytes in its queue", f"{len(garbage):,} bytes")]
    assert not received.reader.pending


def test_an_incomplete_fragment_waits_for_the_next_read_only():
    whole = written(body_of(3000))[0]
    received = Received().read(whole + whole[:500], emptied=False)
    assert received.reader.pending
    received.read(whole[500:])
    assert received.arrived == [(ANN, body_of(3000))] * 2
    received.read(whole[:500], emptied=False).read(b"").read(whole)
    assert len(received.arrived) == 3
    assert received.rejections == [("skipped invalid bytes in its queue", "500 bytes")]


def test_garbage_over_several_reads_is_logged_once():
    received = Received()
    for _ in range(3):
        received.read(b"x" * 1000, emptied=False)
    assert not received.rejections
    received.read(written(b"y")[0])
    assert received.rejections == [("skipped invalid bytes in its queue", "3,000 bytes")]


def test_a_first_fragment_discards_an_unfinished_message_and_later_ones_continue_only_their_own():
    received = Received()
    cut_short, message = written(body_of(9000)), written(body_of(8500))
    received.read(b"".join([*cut_short[:2], *message]))
    assert received.arrived == [(ANN, body_of(8500))]
    received.read(b"".join([message[0], cut_short[1], cut_short[2]]))
    received.read(b"".join(message[1:]))
    assert received.arrived[1:] == [(ANN, body_of(8500))]
    received.read(cut_short[0] + written(b"short")[0] + b"".join(cut_short[1:]))
    assert received.arrived[2:] == [(ANN, b"short")]
    assert not received.rejections


def test_a_message_that_is_too_long_is_ignored_as_a_whole(monkeypatch):
    monkeypatch.setattr(codec, "MAX_MESSAGE_BYTES", 10_000)
    received = Received().read(b"".join(written(body_of(30_000)) + written(body_of(10_000))))
    assert received.arrived == [(ANN, body_of(10_000))]
    assert received.rejections == [("ignored a message that is too long", "more than 10,000 bytes from 7-0")]


def test_the_oldest_of_too_many_unfinished_messages_is_dropped(monkeypatch):
    monkeypatch.setattr(fragments, "MAX_UNFINISHED", 2)
    received = Received()
    messages = [written(body_of(5000), sender_number(1, number)) for number in range(3)]
    for first, _ in messages:
        received.read(first)
    for _, last in messages:
        received.read(last)
    assert received.arrived == [(sender_number(1, number), body_of(5000)) for number in (1, 2)]
    assert received.rejections == [("dropped an unfinished message", "the oldest of more than 2, from 1-0")]


# --- arbitrary bytes


@st.composite
def pipes(draw):
    """Draw atomic writes into a pipe, of messages and garbage, and return them and the messages by sender."""
    queues = {}
    for sender in draw(st.lists(st.sampled_from([ANN, BOB, sender_number(9, 9)]), unique=True)):
        lengths = draw(st.lists(st.integers(1, 9000), max_size=4))
        positions = [sum(lengths[: place + 1]) for place in range(len(lengths))]
        messages = [body_of(length) for length in lengths]
        queues[sender] = messages, [f for m, p in zip(messages, positions, strict=True) for f in written(m, sender, p)]
    left = {sender: list(queue) for sender, (_, queue) in queues.items() if queue}
    writes = []
    while left:
        sender = draw(st.sampled_from(sorted(left)))
        writes.append(left[sender].pop(0))
        if not left[sender]:
            del left[sender]
        if draw(st.booleans()):
            writes.append(draw(garbage()))
    return [write for write in writes if write], {sender: messages for sender, (messages, _) in queues.items()}


@st.composite
def garbage(draw):
    """Draw random bytes, or a truncated or changed fragment."""
    bytes_at_random = st.lists(st.one_of(st.binary(max_size=50), st.just(MAGIC), st.just(MAGIC[:2]))).map(b"".join)
    if draw(st.booleans()):
        return draw(bytes_at_random)
    [whole] = written(body_of(draw(st.integers(8, 4000))), sender_number(9, 9))
    place = draw(st.integers(0, len(whole) - 1))
    change = draw(st.integers(1, 255))
    changed = whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :]
    return draw(st.sampled_from([whole[:place], changed]))


@settings(deadline=None, max_examples=200)
@given(pipes(), st.data())
def test_exactly_the_valid_messages_are_read_from_any_pipe(pipe, data):
    writes, sent = pipe
    received, lying = Received(), b""

    def read(size):
        nonlocal lying
        chunk, lying = lying[:size], lying[size:]
        received.read(chunk, emptied=len(chunk) < size)

    for write in writes:
        lying += write
        for size in data.draw(st.lists(st.integers(1, 9000), max_size=3)):
            read(size)
    read(1 << 20)
    for sender, messages in sent.items():
        assert [body for other, body in received.arrived if other == sender] == messages
    assert len(received.arrived) == sum(map(len, sent.values()))
    assert not received.reader.pending


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans())))
def test_random_bytes_are_no_message(chunks):
    received = Received()
    for chunk, emptied in chunks:
        received.read(chunk, emptied=emptied)
        assert len(received.reader.pending) < 4096
    assert not received.arrived


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, (1 << 64) - 1))
def test_a_checksum_covers_header_and_payload(payload, sender):
    data = encode_fragment((3, payload, zlib.crc32(payload)), sender, 1, 2)
    for place in range(4, len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert not Received().read(changed).arrived
