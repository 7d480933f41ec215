"""The result of a run: one JSON value that its script wrote. Pure.

It is stored with the end of its run and beside the record, so that lists of runs do not carry it. Its text stays as the
script wrote it: no number is rounded, no key moves.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

import msgspec

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.runs.run import Ended, RunRecord, Verdict

RESULT_BYTES_MAX: Final = 64 * 1024
"""Of the file."""
DEPTH_MAX: Final = 64
"""Lists and objects inside each other: less than any reader of JSON takes."""
DIGITS_MAX: Final = 300
"""Of a whole number: more have no form as a float, which is what many readers make of it."""


class BadResult(FastFlowError):
    """The file holds no result. The message completes "FASTFLOW_RESULT_FILE holds no result: "."""


def read_result(data: bytes) -> bytes | None:
    """Check *data*, the content of a script's file, and return its JSON without the whitespace around it.

    The JSON is strict (RFC 8259, and I-JSON): every reader must find the same value in it.

    Returns:
        None if there is only whitespace.

    Raises:
        BadResult: It is too large, not UTF-8, or not such JSON.
    """
    if len(data) > RESULT_BYTES_MAX:
        raise BadResult(
            f"it has more than {RESULT_BYTES_MAX:,} bytes; keep large data outside, and let the result say where."
        )
    try:
        text = data.decode("utf-8-sig").strip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise BadResult(f"it is not UTF-8 (byte {error.start}); write the file with encoding='utf-8'.") from None
    if not text:
        return None
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_whole
        )
        _check(value, 0)
    except json.JSONDecodeError as error:
        raise BadResult(
            f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}; write it with json.dump."
        ) from None
    except RecursionError:
        raise _too_deep() from None
    return text.encode()


def told(run: RunRecord, result: bytes | None) -> bytes:
    """Say how *run* ended, as JSON: what ``ff.result`` tells.

    Args:
        run: A run that is over.
        result: What ``RunStore.result`` returns for it.
    """
    last = run.attempts[-1] if run.attempts else None
    error = (last.error_type, last.error_message) if last else (None, None)
    if isinstance(run.state, Ended) and run.state.verdict is Verdict.INTERRUPTED:  # what came before does not count
        error = (None, run.state.reason or None)
    return msgspec.json.encode(
        {
            "run_id": run.id,
            "status": run.status,
            "result": raw(result),
            "error_type": error[0],
            "error_message": error[1],
        }
    )


def raw(result: bytes | None) -> msgspec.Raw | None:
    """Return *result* as a part of a larger message."""
    return None if result is None else msgspec.Raw(result)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadResult(f"an object has the key {_shown(twice)} twice; give each key once.")
    return found


def _constant(word: str) -> NoReturn:
    raise BadResult(f"{word} is not JSON; write null in its place.")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise BadResult(f"the number {_shown(digits)} is too large; write it as a text.")
    return value


def _whole(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise BadResult(f"a number has {len(digits):,} digits; write it as a text.")
    return int(digits)


def _check(value: Any, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise _too_deep()
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise BadResult(
                    f"the text {_shown(value)} has half a surrogate pair; write whole characters."
                ) from None
        case list():
            for each in value:
                _check(each, depth + 1)
        case dict():
            for name, each in value.items():
                _check(name, depth + 1)
                _check(each, depth + 1)
        case _:
            pass


def _too_deep() -> BadResult:
    return BadResult(f"its lists and objects are more than {DEPTH_MAX} deep; write it flatter.")


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:40]}…")
