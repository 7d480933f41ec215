"""Log chunks on the wire and their way back to lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.codec import Malformed
from fastflow_contracts.runs.logs import CHUNK, Chunk, LogReader, Piece
from tests.support.logs import log_lines

GOLDEN = (
    b'{"v":1,"at":1767268800.25,"lines":[[0,1,"one\\ntwo\\n"],[12,2,"no end"]],'
    b'"end":[8,6],"truncated":false,"eof":true}'
)


def test_a_chunk_is_plain_compact_json() -> None:
    """These bytes are the contract; any language can write and read them."""
    chunk = Chunk(at=1767268800.25, lines=(Piece(0, 1, "one\ntwo\n"), Piece(12, 2, "no end")), end=(8, 6), eof=True)
    assert CHUNK.encode(chunk) == GOLDEN
    assert CHUNK.decode(GOLDEN) == chunk


def test_a_newer_chunk_is_understood() -> None:
    """Unknown fields are ignored, also those after the text of a piece."""
    assert CHUNK.decode(b'{"at":1,"lines":[[0,1,"a\\n",7]],"end":[2,0],"new":1}').lines == (Piece(0, 1, "a\n"),)


def test_an_unknown_stream_is_refused() -> None:
    """A piece of stream 3 is not valid."""
    with pytest.raises(Malformed, match="Chunk"):
        CHUNK.decode(b'{"at":1,"lines":[[0,3,"a"]],"end":[0,0]}')


@given(st.lists(st.tuples(st.integers(1, 2), st.text("ab\n", max_size=5))))
def test_lines_are_put_together_again(pieces: list[tuple[int, str]]) -> None:
    """Each stream reads back line by line, wherever pieces and chunks were cut."""
    chunks = [Chunk(at=0.0, lines=(Piece(0, s, text),), end=(n, 0)) for n, (s, text) in enumerate(pieces)]
    for number, name in ((1, "stdout"), (2, "stderr")):
        text = "".join(text for stream, text in pieces if stream == number)
        assert [line.text for line in log_lines(chunks) if line.stream == name] == (
            text.removesuffix("\n").split("\n") if text else []
        )


def test_a_repeated_chunk_counts_once() -> None:
    """A publisher that saw no answer sends the same chunk again."""
    reader, chunk = LogReader(), Chunk(at=0.0, lines=(Piece(0, 1, "a\n"),), end=(2, 0))
    assert [line.text for line in reader.feed(chunk) + reader.feed(chunk)] == ["a"]


@given(st.lists(st.text("ab\n", max_size=9)), st.integers(1, 6))
def test_a_long_line_is_cut_and_says_so(texts: list[str], most: int) -> None:
    """What is kept of it does not grow; shorter lines are as they were."""
    reader, whole = LogReader(line_characters_max=most), LogReader()
    for number, text in enumerate(texts):
        chunk = Chunk(at=0.0, lines=(Piece(0, 1, text),), end=(number, 0), eof=number == len(texts) - 1)
        for cut, line in zip(reader.feed(chunk), whole.feed(chunk), strict=True):
            if len(line.text) <= most or "[" not in cut.text:
                assert cut == line
            else:
                assert cut.text == f"{line.text[:most]} … [{len(line.text) - most} more characters]"
        assert sum(map(len, reader._open[1])) <= most
