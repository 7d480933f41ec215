"""Runs a measurement, called by hand or by ``make bench``. I/O."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from bench.machine import facts
from bench.table import Table

AS_JSON = "--json"


def report(measure: Callable[..., Coroutine[Any, Any, Table]]) -> None:
    """Measure with the command line's numbers as arguments, and print the table: for people, or as JSON."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    table = asyncio.run(measure(*numbers))
    if AS_JSON in sys.argv:
        sys.stdout.buffer.write(msgspec.json.encode(table))
    else:
        print(facts(), table.text, sep="\n\n")
