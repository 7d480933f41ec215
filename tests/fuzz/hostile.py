"""Values that strangers send: words, JSON, bodies and headers. Pure; every draw comes from the given ``Random``."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from random import Random
from typing import Any, Final

WORDS: Final = (
    "",
    ".",
    "..",
    "../../etc/passwd",
    "%",
    "%00",
    "%2e%2e%2f",
    "\0",
    "\r\nX-Injected: 1",
    "=ZZ",
    "=",
    "*",
    ">",
    "a.b.c",
    "$JS.API.INFO",
    "-1",
    "0",
    "1e309",
    "NaN",
    "9" * 400,
    "٣",
    "0x10",
    "true",
    "null",
    "[]",
    "{{ 7*7 }}",
    "${HOME}",
    "<script>alert(1)</script>",
    "'; DROP TABLE runs; --",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt",
    "e\N{COMBINING ACUTE ACCENT}" * 50,
    "\N{PILE OF POO}" * 30,
    "x" * 255,
    "x" * 4030,
    "2026-02-30",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:60+14:00",
    "2026-01-01T00:00:00+99:99",
    "00000000-0000-4000-8000-000000000000",
    "con",
    "__proto__",
    "PYTHONSTARTUP",
)


def word(random: Random) -> str:
    """Draw a string that somebody may not have expected."""
    if random.random() < 0.7:
        return random.choice(WORDS)
    letters = random.choice((string.ascii_letters, string.printable, "äß\u2028\ufeff\U0010ffff", "\0\x1b\x7f\x85"))
    return "".join(random.choices(letters, k=random.choice((1, 3, 20, 300))))


def value(random: Random, depth: int = 0) -> Any:
    """Draw a JSON value."""
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: word(random),
        lambda: random.choice((0, -1, 1.5, 10**400, 2**63, -(2**63), 1e308, float("nan"), float("-inf"))),
        lambda: random.choice((None, True, False)),
        lambda: [value(random, depth + 1) for _ in range(random.randrange(4))] if depth < 4 else [],
        lambda: {word(random): value(random, depth + 1) for _ in range(random.randrange(4))} if depth < 4 else {},
    )
    return random.choice(kinds)()


def mutated(random: Random, good: Any) -> Any:
    """Change one value of *good*, or its name, or leave one out."""
    if isinstance(good, dict) and good and random.random() < 0.8:
        name = random.choice(list(good))
        changed = {**good, name: mutated(random, good[name])}
        if random.random() < 0.15:
            changed[word(random)] = changed.pop(name)
        elif random.random() < 0.1:
            del changed[name]
        return changed
    if isinstance(good, list) and good and random.random() < 0.8:
        at = random.randrange(len(good))
        return [*good[:at], mutated(random, good[at]), *good[at + 1 :]]
    return value(random)


def body(random: Random, good: Any = None) -> bytes:
    """Draw a body: JSON that is almost *good*, any JSON, or no JSON at all."""
    match random.randrange(10):
        case 0:
            return random.randbytes(random.choice((0, 1, 100, 5000)))
        case 1:
            return b"[" * random.choice((10, 1000, 100_000))
        case 2:
            return b'{"a":' * 2000 + b"1" + b"}" * 2000
        case 3:
            return random.choice(
                (b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b'{"a":"\\ud800"}', b'{"a":1,"a":2}', b"{}garbage")
            )
        case 4:
            return json.dumps(value(random)).encode("utf-8", "surrogatepass")
        case _:
            return json.dumps(mutated(random, good)).encode("utf-8", "surrogatepass")


def header_value(random: Random) -> str:
    """Draw what may stand in a header: a single line of Latin-1."""
    return word(random).encode("latin-1", "replace").decode("latin-1").translate({10: " ", 13: " ", 0: " "})[:6000]
