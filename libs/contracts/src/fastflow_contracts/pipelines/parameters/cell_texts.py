"""Refuses texts that cannot take the type of their default in a notebook's tagged cell: the run could only fail. Pure.

The cell runner gives texts that type. It accepts what is accepted here, and says so about the rest: whether a text that
is no JSON is a list in Python takes a parser that is not safe with texts from anyone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from fastflow_contracts.pipelines.parameters.check import WrongValue
from fastflow_contracts.pipelines.parameters.schema import properties_of
from fastflow_contracts.pipelines.parameters.settle import BadParameters, Settled

_BOOLEANS: Final = frozenset({"true", "1", "yes", "false", "0", "no"})
_WANTED: Final = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


def check_texts(inferred: Mapping[str, Any] | None, settled: Settled) -> None:
    """Check the parameters that are texts.

    Args:
        inferred: What the tagged cell shows; None: nothing.
        settled: The parameters of the run.

    Raises:
        BadParameters: The cell cannot take them.
    """
    wrong = []
    for name, shown in properties_of(inferred).items() if inferred else ():
        default = shown.get("default") if isinstance(shown, dict) else None
        text = None if name in settled.json else settled.texts.get(name)
        if text is not None and not fits(text, default):
            wanted = f"must be {_WANTED[type(default)]}, as its default in the cell tagged parameters"
            wrong.append(WrongValue((name,), wanted))
    if wrong:
        raise BadParameters(wrong)


def fits(text: str, default: Any) -> bool:
    """Whether *text* may take the type of *default*."""
    try:
        match default:
            case bool():
                return text.strip().lower() in _BOOLEANS
            case int():
                return _is_number(text)
            case float():
                float(text)
            case list() | dict():
                return isinstance(json.loads(text), type(default))
    except ValueError:
        return isinstance(default, list | dict)
    except RecursionError:
        return True
    return True


def _is_number(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return math.isfinite(float(text))
    return True
