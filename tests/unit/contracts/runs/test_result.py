"""What a script may write as its result."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.runs.result import DEPTH_MAX, RESULT_BYTES_MAX, BadResult, read_result, told
from fastflow_contracts.runs.run import Ended, Verdict
from tests.support.records import a_run, at

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("data", "result"),
    [
        (b'{"rows": 3}\n', b'{"rows": 3}'),
        (b"null", b"null"),
        (b'"text"', b'"text"'),
        (b"0", b"0"),
        (b"1.50", b"1.50"),
        (b"12345678901234567890123", b"12345678901234567890123"),
        (b"-0", b"-0"),
        (b'["\\ud83d\\ude00"]', b'["\\ud83d\\ude00"]'),
        ("\ufeff[1]".encode(), b"[1]"),
        ('"\u2028ä"'.encode(), '"\u2028ä"'.encode()),
        (b"", None),
        (b" \r\n\t", None),
        ("\ufeff".encode(), None),
        (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, b"[" * DEPTH_MAX + b"]" * DEPTH_MAX),
        (b'"' + b"x" * (RESULT_BYTES_MAX - 2) + b'"', b'"' + b"x" * (RESULT_BYTES_MAX - 2) + b'"'),
    ],
)
def test_json_stays_as_it_was_written(data: bytes, result: bytes | None) -> None:
    """Without the whitespace around it."""
    assert read_result(data) == result


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{'a': 1}", "not JSON: Expecting property name enclosed in double quotes in line 1, column 2"),
        (b'{"a": 1}\n{"a": 2}', "not JSON: Extra data in line 2, column 1"),
        (b'{"a": 1', "not JSON"),
        (b"// none", "not JSON"),
        (b"True", "not JSON"),
        (b'"a\x00b"', "not JSON"),
        ("\u00a01".encode(), "not JSON"),
        (b"[NaN]", "NaN is not JSON; write null"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e999", "the number '1e999' is too large"),
        (b"9" * 5000, "a number has 5,000 digits"),
        (b'{"a": {"b": 1, "b": 1}}', "has the key 'b' twice"),
        (b'{"a": 1, "\\u0061": 2}', "has the key 'a' twice"),
        (b'["\\ud800"]', "half a surrogate pair"),
        (b'{"\\udfff": 1}', "half a surrogate pair"),
        (b"\xff\xfe1\x00", "not UTF-8 (byte 0)"),
        (b'"\xe4"', "not UTF-8 (byte 1)"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b"[" * (DEPTH_MAX + 2) + b"]" * (DEPTH_MAX + 2), "more than 64 deep"),
        (b"[" * 60_000, "more than 64 deep"),
        (b"1" * (RESULT_BYTES_MAX + 1), "more than 65,536 bytes"),
    ],
)
def test_what_readers_of_json_disagree_on_is_no_result(data: bytes, words: str) -> None:
    """The sentence says what to do."""
    with pytest.raises(BadResult) as refused:
        read_result(data)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 300


@given(JSON)
def test_every_reader_finds_the_same_value(value: object) -> None:
    """What is accepted comes back unchanged, inside a larger message, too."""
    result = read_result(json.dumps(value).encode())
    assert result is not None
    assert json.loads(result) == value
    run = a_run("demo")
    ended = msgspec.structs.replace(run, state=Ended(verdict=Verdict.SUCCESS, at=at(9), result_bytes=len(result)))
    assert json.loads(told(ended, result)) == {
        "run_id": run.id,
        "status": "SUCCESS",
        "result": value,
        "error_type": None,
        "error_message": None,
    }


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:0123e-. \\ud8aNI', max_size=40).map(str.encode))
def test_any_bytes_are_a_result_or_refused(data: bytes) -> None:
    """Nothing else comes out of it, and another strict reader takes what is accepted."""
    try:
        result = read_result(data)
    except BadResult:
        return
    if result is not None:
        msgspec.json.decode(result)
