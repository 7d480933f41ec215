"""The process that evaluates expressions: ``python -m fastflow_contracts.pipelines.expressions.worker``.

It reads requests from its standard input and answers each on its standard output, as frames: four bytes of length, then
JSON. The library cannot be interrupted, so the kernel ends the whole process when an evaluation has used its time, and
its parent starts another one. A crash of the library ends no service either.
"""

from __future__ import annotations

import resource
import signal
import sys
from functools import lru_cache
from typing import Any, BinaryIO

import cel
import msgspec

from fastflow_contracts.pipelines.expressions.frames import Question, Reply, read_frame, write_frame
from fastflow_contracts.pipelines.expressions.variables import event_variables

EVALUATION_S = 0.010
"""CPU time of one evaluation, the conversion of its variables included."""
MEMORY_BYTES_MAX = 1024**3
_QUESTION = msgspec.json.Decoder(Question)


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Answer until *source* ends."""
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    while (frame := read_frame(source)) is not None:
        write_frame(target, msgspec.json.encode(answer(_QUESTION.decode(frame))))


def answer(question: Question) -> Reply:
    """Evaluate one expression within its time."""
    event, headers = event_variables(question.event, question.event_type, question.headers)
    given = {**question.variables, "event": event, "headers": headers}
    names: list[str] = []
    try:
        program, names = _compiled(question.expression)
        signal.setitimer(signal.ITIMER_VIRTUAL, EVALUATION_S)
        value = program.execute({name: given[name] for name in names if name in given})
    except Exception as error:
        return Reply(
            error=_reason(error) + (_about(given) if isinstance(error, TypeError) and "event" in names else "")
        )
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    match value:
        case bool() | int() | float() | str():
            return Reply(value=value)
        case _:
            return Reply(error=f"it gives {_kind(value)}; a text, a number, true or false is accepted")


@lru_cache(maxsize=1_000)
def _compiled(expression: str) -> tuple[cel.Program, list[str]]:
    program = cel.compile(expression)
    return program, program.variables()


def _reason(error: Exception) -> str:
    match error:
        case KeyError():
            return f"there is no field {error}"
        case TypeError() if "No such overload" in str(error) or "Unexpected type" in str(error):
            return "an operation does not fit the types of its values"
        case _:
            return str(error).partition(". ")[0][:300]


def _about(given: dict[str, Any]) -> str:
    """Name what the event is, where a field of it was expected."""
    match given.get("event"):
        case dict():
            return ""
        case None | "":
            return "; the event is empty"
        case str() | bytes():
            return "; the event is no JSON"
        case value:
            return f"; the event is {_kind(value)}"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", type(None): "null", bytes: "bytes", int: "a number", float: "a number"}
    return kinds.get(type(value), f"a {type(value).__name__}")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody; our input ends when it is time
    serve(sys.stdin.buffer, sys.stdout.buffer)
