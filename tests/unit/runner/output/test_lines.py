"""From bytes to log chunks: wherever output is cut, the log is the same and holds no secret."""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from unittest.mock import patch
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastflow_api.log_lines import TextJoiner
from fastflow_api.shapes import LogLine, PartialLine
from fastflow_contracts.runs.logs import (
    CHUNK,
    CHUNK_BYTES_MAX,
    STREAMS,
    Chunk,
    LogStream,
    OpenText,
)
from fastflow_gateway.streaming.events import log_events
from fastflow_runner.guest.cells import masking
from fastflow_runner.guest.cells.masking import Masker
from fastflow_runner.output import lines
from fastflow_runner.output.lines import LINE_BYTES_MAX, Assembler, OutputStream
from tests.support.logs import log_lines

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECRETS = ["hunter2!", "abab", "ünïcode-pass", "first line\nsecond line"]

ugly = st.binary(max_size=4) | st.sampled_from([b"\n", b"\n\n", "é€😀".encode(), b"\xf0\x9f", b"\x00" * 9, b"word "])
secret = st.sampled_from([line for value in SECRETS for line in value.split("\n")]).map(str.encode)
output = st.lists(ugly | secret | secret.map(lambda s: s[:-1]), max_size=30).map(b"".join)
cuts = st.lists(st.integers(0, 300), max_size=12)


@contextmanager
def small_bounds() -> Iterator[None]:
    """Bounds at which a few words are already a very long line."""
    with (
        patch.object(masking, "SECRET_BYTES_MAX", 16),
        patch.multiple(lines, PIECE_BYTES=24, LINE_BYTES_MAX=40, CHUNK_BYTES_MAX=600),
    ):
        yield


def parts_of(data: bytes, at: Sequence[int]) -> list[tuple[int, bytes]]:
    edges = sorted({0, len(data), *(place for place in at if place < len(data))})
    return [(start, data[start:stop]) for start, stop in pairwise(edges)]


def log_of(
    stdout: bytes,
    stderr: bytes = b"",
    at: Sequence[int] = (),
    secrets: Sequence[str] = (),
    resume: Chunk | None = None,
    log_bytes_max: int = 10_000_000,
) -> list[Chunk]:
    assembler = Assembler(secrets=secrets, resume=resume, log_bytes_max=log_bytes_max)
    streams: list[tuple[OutputStream, bytes]] = [("stdout", stdout), ("stderr", stderr)]
    events = sorted((offset, name, data) for name, whole in streams for offset, data in parts_of(whole, at))
    chunks: list[Chunk] = []
    for count, (offset, name, data) in enumerate(events):
        chunks += assembler.feed(name, offset, NOON + timedelta(milliseconds=count), data)
        if offset % 3 == 0:
            chunks += assembler.flush()
    return chunks + assembler.close(NOON)


def text_of(chunks: Sequence[Chunk], stream: LogStream = "stdout") -> str:
    return "".join(piece.text for c in chunks for piece in c.lines if STREAMS[piece.stream] == stream)


@given(output, output, cuts)
@example(b"x" * 40 + "€".encode() * 40 + b"\xe2\x82" * 30, b"", [1, 24, 40])
def test_without_secrets_the_log_is_what_was_written(stdout: bytes, stderr: bytes, at: list[int]) -> None:
    """Joined, the pieces of a stream are its bytes as UTF-8, with replacement characters, wherever they were cut."""
    with small_bounds():
        chunks = log_of(stdout, stderr, at)
    assert text_of(chunks) == stdout.decode("utf-8", "replace")
    assert text_of(chunks, "stderr") == stderr.decode("utf-8", "replace")


@given(output, cuts)
@example(b"ababababab" * 20, [3, 50])
@example(b"x" * 20 + b"hunter2!" + b"y" * 40, [22, 24, 26])
def test_the_text_does_not_depend_on_the_cuts(data: bytes, at: list[int]) -> None:
    """Also with secrets to mask: output in one piece and in crumbs gives the same text."""
    with small_bounds():
        assert text_of(log_of(data, at=at, secrets=SECRETS)) == text_of(log_of(data, secrets=SECRETS))


@given(output, cuts)
def test_no_secret_is_in_the_log(data: bytes, at: list[int]) -> None:
    """No value and no line of a value, not even across the cuts of a long line."""
    with small_bounds():
        text = text_of(log_of(data, at=at, secrets=SECRETS))
    assert not [part for value in SECRETS for part in value.split("\n") if part in text]


@given(output, output, cuts, st.integers(0, 30))
def test_a_reattached_runner_continues_the_very_same_log(
    stdout: bytes, stderr: bytes, at: list[int], published: int
) -> None:
    """Whichever chunk was published last, what follows completes both streams without repetition."""
    with small_bounds():
        whole = log_of(stdout, stderr, at, SECRETS)
        first = whole[: min(published, len(whole) - 1)]
        rest = log_of(stdout, stderr, at[::2], SECRETS, resume=first[-1] if first else None)
    for stream in ("stdout", "stderr"):
        assert text_of(first + rest, stream) == text_of(whole, stream)
    assert (rest[-1].end if rest else (0, 0)) == (len(stdout), len(stderr))


@given(output, output, cuts)
def test_offsets_only_grow_and_end_at_the_end(stdout: bytes, stderr: bytes, at: list[int]) -> None:
    """Each chunk ends at or after the one before; only the last one is the end of the log."""
    with small_bounds():
        chunks = log_of(stdout, stderr, at)
    ends = [(0, 0), *(chunk.end for chunk in chunks)]
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(ends))
    assert ends[-1] == (len(stdout), len(stderr))
    assert [chunk.eof for chunk in chunks] == ([False] * (len(chunks) - 1) + [True] if stdout or stderr else [])


@given(output, output, cuts, st.integers(1, 4))
@example(b"x" * 20 + b"hunter2!" + b"y" * 40, b"", [10, 22, 24, 26], 1)
@example(b"a\nb", b"c" * 60, [1], 4)
@example(b"", b"first linfirst lin\x00\x00hunter2" + bytes(4) + "é€😀".encode(), [10], 1)
def test_what_open_lines_show_early_is_the_beginning_of_what_follows(
    stdout: bytes, stderr: bytes, at: list[int], every: int
) -> None:
    """Followers that show it read the very same text, never half a secret; the stored log is as without it."""
    with small_bounds():
        assembler = Assembler(secrets=SECRETS)
        events = [(o, n, d) for n, whole in (("stdout", stdout), ("stderr", stderr)) for o, d in parts_of(whole, at)]
        chunks: list[Chunk] = []
        for count, (offset, name, data) in enumerate(sorted(events)):
            chunks += assembler.feed(name, offset, NOON, data)  # type: ignore[arg-type]
            chunks += assembler.show_open() if count % every == 0 else []
            assert not (count % every == 0 and assembler.has_unshown)
        chunks += assembler.close(NOON)
    for stream, data in (("stdout", stdout), ("stderr", stderr)):
        whole = text_of(log_of(data, secrets=SECRETS))
        assert text_of(chunks, stream) == whole  # type: ignore[arg-type]
        joiner, parts = TextJoiner(), parts_for_followers(chunks, stream)
        # A last line without an end gets one, unless another stream still writes after it.
        assert "".join(joiner.feed(part) for part in parts).removesuffix("\n") == whole.removesuffix("\n")
        shown = "".join(part.text if isinstance(part, PartialLine) else "\n" for part in parts)
        assert not [line for value in SECRETS for line in value.split("\n") if line in shown]


def parts_for_followers(chunks: Sequence[Chunk], stream: str) -> list[LogLine | PartialLine]:
    """What a gateway sends of one stream."""
    blocks = b"".join(log_events(chunk, 1, 1) for chunk in chunks).decode().split("\n\n")
    found: list[LogLine | PartialLine] = []
    for name, _, data in (block.rpartition("event: ")[2].partition("\ndata: ") for block in blocks if block):
        part = msgspec.json.decode(data, type=LogLine if name == "log" else PartialLine)
        found += [part] if part.stream == stream else []
    return found


def test_an_open_line_is_shown_once_and_in_whole_characters() -> None:
    """Text that was shown does not come again; half a character waits for its other half."""
    assembler = Assembler()
    assembler.feed("stdout", 0, NOON, b"Connecting \xe2")
    (first,) = assembler.show_open()
    assert (first.open, first.lines, first.end) == (OpenText(1, 0, "Connecting "), (), (0, 0))
    assert assembler.show_open() == []
    assembler.feed("stdout", 12, NOON, b"\x82\xac")
    (second,) = assembler.show_open()
    assert second.open == OpenText(1, 11, "€")
    assembler.feed("stdout", 14, NOON, b"\n")
    assert not assembler.has_unshown
    (third,) = assembler.flush()
    assert (third.lines[0].text, third.open) == ("Connecting €\n", msgspec.UNSET)


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b'"', b"a", b"\n"])
@pytest.mark.parametrize("line_bytes", [50, LINE_BYTES_MAX - 1, LINE_BYTES_MAX, 1_000_000])
def test_no_chunk_is_larger_than_a_message_may_be(byte: bytes, line_bytes: int) -> None:
    """Bytes that JSON makes six times larger still fit, and ordinary output fills its chunks."""
    data = (byte * line_bytes + b"\n") * (2_000_000 // line_bytes)
    chunks = log_of(data, at=range(0, len(data), 65_536))
    sizes = [len(CHUNK.encode(chunk)) for chunk in chunks]
    assert max(sizes) <= CHUNK_BYTES_MAX
    assert text_of(chunks) == data.decode("utf-8", "replace")
    full = log_of(data)[:-1]
    assert not full or min(len(CHUNK.encode(chunk)) for chunk in full) > CHUNK_BYTES_MAX / 16


@pytest.mark.parametrize(
    "written",
    [
        "hunter2!&more",
        repr("hunter2!&more\\"),
        json.dumps({"token": 'quo"ted\\secret'}),
        "https://host/?t=" + quote("hunter2!&more", safe=""),
        base64.b64encode(b"hunter2!&more").decode(),
        "second line of a key",
        json.dumps("first line of a key\nsecond line of a key"),
    ],
)
def test_a_secret_is_masked_in_all_its_usual_forms(written: str) -> None:
    """Plain, quoted for Python, JSON or a URL, in base64, and line by line."""
    masker = Masker(
        ["hunter2!&more", "hunter2!&more\\", 'quo"ted\\secret', "first line of a key\nsecond line of a key"]
    )
    masked = masker.mask(written.encode()).decode()
    assert "***" in masked
    assert not any(word in masked for word in ("hunter", "secret", "aHVu", "line of"))


def test_short_and_blank_values_are_not_masked() -> None:
    """Masking three characters or blanks would destroy ordinary text."""
    assert Masker(["abc", "        ", "", "\n\n\n\n"]).mask(b"abc        \n\n\n\n") == b"abc        \n\n\n\n"


def test_overlapping_secrets_leave_nothing_between_them() -> None:
    """If one secret begins inside another, both are masked as one."""
    assert Masker(["abcdef", "defghi", "abcd"]).mask(b"-abcdefghi-abcd-") == b"-***-***-"


def test_a_flood_ends_with_a_mark_and_is_counted_to_its_end() -> None:
    """Beyond the cap nothing is kept; the log says so where it stops and at the end, and offsets continue."""
    chunks = log_of(b"0123456789\n" * 1000, at=range(0, 11_000, 110), log_bytes_max=1100)
    assert text_of(chunks) == "0123456789\n" * 100
    said = text_of(chunks, "system").splitlines()
    assert said == [
        "[fastflow] log truncated at 1100 bytes; the script continues",
        "[fastflow] log truncated; the script wrote 11000 bytes in all",
    ]
    assert chunks[-1].truncated
    assert chunks[-1].end == (11_000, 0)


def test_a_truncated_log_stays_truncated_for_the_next_runner() -> None:
    """A runner that attaches after the mark keeps counting, also where acknowledged bytes are not repeated."""
    assembler = Assembler(resume=Chunk(at=0.0, end=(10, 0), truncated=True))
    assert assembler.feed("stdout", 500, NOON, b"more\n") == []
    assert assembler.end == (505, 0)
    assert not assembler.pending


def test_only_published_output_may_be_acknowledged() -> None:
    """``end`` leaves out what still waits: lines for their chunk, the rest of a line, and the mark of a full log."""
    assembler = Assembler(log_bytes_max=10)
    assembler.feed("stdout", 0, NOON, b"one\ntwo")
    assert (assembler.end, assembler.pending) == ((0, 0), True)
    assembler.flush()
    assert (assembler.end, assembler.pending) == ((4, 0), False)
    assembler.feed("stdout", 7, NOON, b" and three\n")
    assert assembler.end == (4, 0)
    (mark,) = assembler.flush()
    assert mark.truncated
    assembler.feed("stdout", 18, NOON, b"four\n")
    assert (assembler.end, assembler.pending) == ((23, 0), False)


def test_missing_bytes_are_noted_in_the_log() -> None:
    """A gap in the offsets does not end the run."""
    assembler = Assembler()
    assembler.feed("stdout", 0, NOON, b"half a li")
    assembler.feed("stdout", 100, NOON, b"on\n")
    assert [(line.stream, line.text) for line in log_lines(assembler.close(NOON))] == [
        ("system", "[fastflow] 91 bytes of stdout are missing here"),
        ("stdout", "half a lion"),
    ]


def test_lines_come_in_the_order_in_which_they_were_completed() -> None:
    """A line counts from its end, whichever stream began first; the runner's own lines are in between."""
    assembler = Assembler(secrets=["hunter2!"])
    later = NOON + timedelta(seconds=1)
    chunks = assembler.feed("stdout", 0, NOON, b"out: ")
    chunks += assembler.feed("stderr", 0, NOON, b"err\nno end")
    chunks += assembler.say(NOON, "installed hunter2!")
    chunks += assembler.feed("stdout", 5, later, b"done\n")
    read = list(log_lines(chunks + assembler.close(later)))
    assert [(line.stream, line.text, line.at - NOON.timestamp()) for line in read] == [
        ("stderr", "err", 0),
        ("system", "installed ***", 0),
        ("stdout", "out: done", 1),
        ("stderr", "no end", 0),
    ]


def test_a_silent_script_costs_nothing() -> None:
    """Without output there is no chunk; output that is already stored gives the end of the log."""
    assert Assembler().close(NOON) == []
    spoke = Assembler()
    spoke.feed("stdout", 0, NOON, b"a\n")
    (stored,) = spoke.flush()
    for log in (spoke, Assembler(resume=stored)):
        (only,) = log.close(NOON)
        assert (only.lines, only.end, only.eof) == ((), (2, 0), True)


@given(st.lists(output | secret, max_size=6))
def test_text_shown_as_it_comes_shows_no_secret(pieces: list[bytes]) -> None:
    """What ``settled`` passes on, masked piece by piece, holds no secret; at the end everything has been passed on."""
    masker = Masker(SECRETS)
    shown, held = b"", b""
    for piece in pieces:
        held += piece
        settled = masker.settled(held)
        shown, held = shown + masker.mask(held[:settled]), held[settled:]
    shown += masker.mask(held)
    assert not [
        line for value in SECRETS for line in value.split("\n") if line.encode() in shown.replace(b"***", b"\0")
    ]


def test_text_without_the_beginning_of_a_secret_is_not_held_back() -> None:
    """A progress report is visible before its line is complete."""
    masker = Masker(["hunter2!"])
    assert masker.settled(b"working...") == 10
    assert masker.settled(b"working... hunt") == 11
