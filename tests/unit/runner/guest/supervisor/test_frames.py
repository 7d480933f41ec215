"""The frame codec and the window, by examples and by any cutting of the stream. Pure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_runner.guest.supervisor import frames as module
from fastflow_runner.guest.supervisor.frames import (
    BEAT,
    DATA,
    FRAME_BYTES_MAX,
    JOB,
    MAGIC,
    OUTPUT,
    STOP,
    SYNC,
    Decoder,
    ForeignMark,
    OutputWindow,
    ProtocolError,
    frame,
    mark,
    message,
)

NONCE, OTHER = bytes(range(16)), bytes(range(1, 17))

frames = st.lists(st.tuples(st.sampled_from(OUTPUT.to_bytes(1, "big") + b"AJDBKSYTEMX"), st.binary()))
cuts = st.lists(st.integers(min_value=1, max_value=40))


def fed(decoder: Decoder, stream: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    """Return all frames of *stream* if it arrives in pieces of these lengths, then the rest."""
    found = []
    for length in cuts:
        found += decoder.feed(stream[:length])
        stream = stream[length:]
    return found + list(decoder.feed(stream))


def joined(frames: list[tuple[int, bytes]]) -> bytes:
    return b"".join(frame(kind, payload) for kind, payload in frames)


def test_a_frame_has_kind_length_and_payload() -> None:
    """These bytes are the protocol."""
    assert frame(BEAT, b"{}") == b"B\x00\x00\x00\x02{}"
    assert message(STOP, grace_s=None) == b'S\x00\x00\x00\x10{"grace_s":null}'
    assert mark(NONCE) == b"\xff\xf5FASTFL" + NONCE


def test_text_takes_no_more_room_than_it_needs() -> None:
    """It is sent as UTF-8. What UTF-8 cannot hold is escaped, and arrives unchanged."""
    assert message(JOB, env="ä🙂")[5:] == '{"env":"ä🙂"}'.encode()
    half = message(JOB, env="\ud800 \udcff\\")[5:]
    assert half == b'{"env":"\\ud800 \\udcff\\\\"}'
    assert json.loads(half) == {"env": "\ud800 \udcff\\"}


@given(frames, cuts)
def test_frames_survive_any_cutting(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """The same frames come out in order, wherever reads cut the stream."""
    assert fed(Decoder(mark(NONCE)), mark(NONCE) + joined(sent), cuts) == sent
    assert fed(Decoder(), mark(NONCE) + joined(sent), cuts) == sent


@given(st.binary(), frames, cuts)
def test_bytes_before_the_mark_are_dropped(rubbish: bytes, sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """A reader that attaches in the middle of a stream is in step from its mark on."""
    assert fed(Decoder(mark(NONCE)), rubbish + mark(NONCE) + joined(sent), cuts) == sent


@given(frames, st.binary(min_size=1), st.integers(min_value=0), frames)
def test_a_mark_ends_a_torn_frame(
    before: list[tuple[int, bytes]], torn: bytes, length: int, after: list[tuple[int, bytes]]
) -> None:
    """A writer that died within a frame is followed by one that begins with the mark."""
    whole = frame(DATA, torn)
    half = whole[: length % len(whole)]
    stream = mark(NONCE) + joined(before) + half + mark(NONCE) + joined(after)
    assert fed(Decoder(), stream, []) == before + after


def test_a_foreign_mark_is_another_runner() -> None:
    """A reader that sees another's mark after its own has been superseded; frames before it still count."""
    decoder = Decoder(mark(NONCE))
    said = decoder.feed(mark(NONCE) + frame(BEAT, b"{}") + mark(OTHER) + frame(SYNC, b"{}"))
    assert next(said) == (BEAT, b"{}")
    with pytest.raises(ForeignMark):
        next(said)
    assert list(decoder.feed(frame(BEAT, b"{}"))) == []


def test_a_frame_that_is_too_long_is_refused() -> None:
    """None is written and none is accepted; the next mark restores the stream."""
    with pytest.raises(ProtocolError):
        frame(DATA, bytes(FRAME_BYTES_MAX + 1))
    decoder = Decoder()
    with pytest.raises(ProtocolError):
        list(decoder.feed(mark(NONCE) + b"D\x7f\xff\xff\xff"))
    assert list(decoder.feed(b"rubbish" + mark(NONCE) + frame(BEAT, b""))) == [(BEAT, b"")]


def test_a_stream_without_a_mark_is_refused() -> None:
    """A supervisor accepts only a stream that begins with a mark."""
    with pytest.raises(ProtocolError):
        list(Decoder().feed(b"x" * 100))


def test_no_frame_kind_begins_a_mark() -> None:
    """Otherwise a foreign mark could be read as a frame."""
    kinds = {value for name, value in vars(module).items() if name.isupper() and name in _KINDS}
    assert len(kinds) == len(_KINDS)
    assert MAGIC[0] not in kinds


_KINDS = {
    *("ATTACH", "JOB", "DATA", "BEAT", "ACK", "STOP"),
    *("SYNC", "STARTED", "OUTPUT", "EVENT", "SAMPLE", "EXIT"),
}


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(min_value=1, max_value=50))),
    st.integers(min_value=0, max_value=200),
    st.integers(min_value=0, max_value=200),
)
def test_the_window_keeps_exactly_what_is_not_acknowledged(pieces: list[tuple[int, int]], out: int, err: int) -> None:
    """For each stream the frames that end above its offset remain, in the order they were sent."""
    window, ends, sent = OutputWindow(), {1: 0, 2: 0}, []
    for stream, length in pieces:
        ends[stream] += length
        sent.append((stream, ends[stream], b"%d:%d" % (stream, ends[stream])))
        window.push(*sent[-1])
    window.acknowledge({1: out, 2: err})
    assert list(window) == [data for stream, end, data in sent if end > (out if stream == 1 else err)]
    window.acknowledge(ends)
    assert list(window) == []
    assert not window.full


def test_small_frames_fill_the_window_too() -> None:
    """A script that writes byte by byte meets the bound before memory does."""
    window, count = OutputWindow(bytes_max=10_000), 0
    while not window.full:
        count += 1
        window.push(1, count, b"x")
    assert count < 50
