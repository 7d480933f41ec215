"""Variables as options of a command give them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastflow.errors import BadUsage


def read_variables(pairs: Iterable[str], option: str, *, own: Callable[[str], str | None]) -> dict[str, str]:
    """Parse ``NAME=value`` pairs; a bare ``NAME`` gets its value from *own*."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            inherited = own(name)
            if inherited is None:
                raise BadUsage(f"{option} {pair}: write it as NAME=value.")
            value = inherited
        if not name:
            raise BadUsage(f"{option} {pair}: there must be a name before the =.")
        found[name] = value
    return found
