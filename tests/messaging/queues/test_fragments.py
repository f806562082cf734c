"""Whatever lies in a pipe, the valid messages come out of it, whole and in order, and nothing else does."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmsim.messaging import codec
from swarmsim.messaging.queues import fragments
from swarmsim.messaging.queues.fragments import MAGIC, Reader, fragment, id_of_sender, pieces_of, sender_number

ANN, BOB = sender_number(7, 0), sender_number(4_000_000, 3)


def written(body, sender=ANN, position=0):
    return [fragment(piece, sender, 5, position or len(body)) for piece in pieces_of(body)]


def body_of(length):
    """Return a body that holds the magic, so that it is no help to look for that alone."""
    return (MAGIC + length.to_bytes(4, "little")) * (length // 8) + b"." * (length % 8)


class Heard:
    """A reader, and what it has told."""

    def __init__(self):
        self.rejections = []
        self.reader = Reader(lambda *complaint: self.rejections.append(complaint))
        self.arrived = []

    def read(self, data, emptied=True):
        self.arrived += [(sender, body) for sender, _, _, body, _ in self.reader.read(data, emptied=emptied)]
        return self


def test_a_sender_has_one_number_for_its_process_and_its_place_there():
    assert [id_of_sender(sender) for sender in (ANN, BOB)] == ["7-0", "4000000-3"]
    assert sender_number(7, 1 << 16) == ANN


@pytest.mark.parametrize("length", [1, 4066, 4067, 4068, 8134, 8135, 100_000])
def test_a_message_is_written_in_pieces_that_a_pipe_keeps_whole(length):
    pieces = written(body_of(length))
    assert max(map(len, pieces)) <= 4096
    assert Heard().read(b"".join(pieces)).arrived == [(ANN, body_of(length))]


def test_what_comes_with_a_message_is_what_its_sender_has_said_of_it():
    for floods in (False, True):
        data = fragment(pieces_of(b"x")[0], BOB, 65_535, 1 << 40, floods)
        assert Heard().reader.read(data, emptied=True) == [(BOB, 65_535, 1 << 40, b"x", floods)]


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
def test_garbage_neither_swallows_nor_delays_the_message_behind_it(garbage):
    heard = Heard().read(written(b"before")[0] + garbage + written(b"behind")[0])
    assert heard.arrived == [(ANN, b"before"), (ANN, b"behind")]
    assert heard.rejections == [("skipped what is no message in its queue", f"{len(garbage):,} bytes")]
    assert not heard.reader.kept


def test_the_end_of_a_full_read_waits_for_the_next_one_and_no_longer():
    whole = written(body_of(3000))[0]
    heard = Heard().read(whole + whole[:500], emptied=False)
    assert heard.reader.kept
    heard.read(whole[500:])
    assert heard.arrived == [(ANN, body_of(3000))] * 2
    heard.read(whole[:500], emptied=False).read(b"").read(whole)
    assert len(heard.arrived) == 3
    assert heard.rejections == [("skipped what is no message in its queue", "500 bytes")]


def test_a_stretch_of_garbage_over_several_reads_is_told_once():
    heard = Heard()
    for _ in range(3):
        heard.read(b"x" * 1000, emptied=False)
    assert not heard.rejections
    heard.read(written(b"y")[0])
    assert heard.rejections == [("skipped what is no message in its queue", "3,000 bytes")]


def test_a_first_fragment_begins_anew_and_a_later_one_continues_its_own_message_only():
    heard = Heard()
    cut_short, message = written(body_of(9000)), written(body_of(8500))
    heard.read(b"".join([*cut_short[:2], *message]))
    assert heard.arrived == [(ANN, body_of(8500))]
    heard.read(b"".join([message[0], cut_short[1], cut_short[2]]))
    heard.read(b"".join(message[1:]))
    assert heard.arrived[1:] == [(ANN, body_of(8500))]
    heard.read(cut_short[0] + written(b"short")[0] + b"".join(cut_short[1:]))
    assert heard.arrived[2:] == [(ANN, b"short")]
    assert not heard.rejections


def test_a_message_that_is_too_long_is_left_out_with_all_its_rest(monkeypatch):
    monkeypatch.setattr(codec, "MAX_MESSAGE_BYTES", 10_000)
    heard = Heard().read(b"".join(written(body_of(30_000)) + written(body_of(10_000))))
    assert heard.arrived == [(ANN, body_of(10_000))]
    assert heard.rejections == [("left out a message that is too long", "more than 10,000 bytes from 7-0")]


def test_of_too_many_unfinished_messages_the_oldest_is_left_out(monkeypatch):
    monkeypatch.setattr(fragments, "MOST_UNFINISHED", 2)
    heard = Heard()
    messages = [written(body_of(5000), sender_number(1, number)) for number in range(3)]
    for first, _ in messages:
        heard.read(first)
    for _, last in messages:
        heard.read(last)
    assert heard.arrived == [(sender_number(1, number), body_of(5000)) for number in (1, 2)]
    assert heard.rejections == [("left out a message whose rest had not come", "the oldest of too many, 1-0's")]


# --- any bytes at all


@st.composite
def pipes(draw):
    """Return what is written, each whole, into a pipe: messages of several senders and garbage; and those messages."""
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
    """Return bytes, and fragments that were cut off or changed; never a whole one."""
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
def test_all_valid_messages_come_out_of_any_pipe_and_nothing_else(pipe, data):
    writes, sent = pipe
    heard, lying = Heard(), b""

    def read(size):
        nonlocal lying
        chunk, lying = lying[:size], lying[size:]
        heard.read(chunk, emptied=len(chunk) < size)

    for write in writes:
        lying += write
        for size in data.draw(st.lists(st.integers(1, 9000), max_size=3)):
            read(size)
    read(1 << 20)
    for sender, messages in sent.items():
        assert [body for its, body in heard.arrived if its == sender] == messages
    assert len(heard.arrived) == sum(map(len, sent.values()))
    assert not heard.reader.kept


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans())))
def test_bytes_at_random_are_no_message(chunks):
    heard = Heard()
    for chunk, emptied in chunks:
        heard.read(chunk, emptied=emptied)
        assert len(heard.reader.kept) < 4096
    assert not heard.arrived


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, (1 << 64) - 1))
def test_a_checksum_covers_header_and_payload(payload, sender):
    data = fragment((3, payload, zlib.crc32(payload)), sender, 1, 2)
    for place in range(4, len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert not Heard().read(changed).arrived
