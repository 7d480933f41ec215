"""Matches regular expressions in linear time. Pure.

Python's ``re`` tries alternatives one after the other: a pattern such as ``(a+)+$`` takes years for a short text, and
nothing can stop it. This module follows all alternatives at once (a Thompson automaton), so the time is bounded by the
pattern's size times the text's length. It takes all that JSON Schema recommends, and refuses what needs backtracking:
references to groups, and assertions that look around.
"""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

PATTERN_CHARACTERS_MAX: Final = 1_000
STATES_MAX: Final = 1_000
"""Most states of one pattern: ``{100}`` takes a hundred times its content."""
_TOO_LARGE: Final = "it is too large: use smaller numbers in { }"


class BadPattern(ValueError):
    """The pattern cannot be used; the message says why."""


class _Character(NamedTuple):
    """Takes one character and goes on."""

    accepts: Callable[[str], bool]
    next: int
    cost: int
    """How many characters and ranges it compares."""


class _Split(NamedTuple):
    """Goes on in several ways, without a character."""

    ways: tuple[int, ...]


class _At(NamedTuple):
    """Goes on only at this place of the text."""

    holds: Callable[[str, int], bool]
    next: int


class _Accept(NamedTuple):
    """The pattern matches."""


_State: TypeAlias = _Character | _Split | _At | _Accept


class Pattern:
    """A compiled pattern. Create it with ``compiled``."""

    def __init__(self, source: str) -> None:
        self._states: list[_State] = [_Accept()]
        self._compiled = 0
        self._start = self._sequence(_parsed(source), 0)

    def found_in(self, text: str, spend: Callable[[int], None]) -> bool:
        """Return whether the pattern matches anywhere in *text*.

        Args:
            text: Any text.
            spend: Is told of each bit of work; it may raise to stop it.
        """
        active: set[int] = set()
        for position in range(len(text) + 1):
            if self._follow({*active, self._start}, text, position, reached := set[int]()):
                return True
            spend(sum(each.cost if isinstance(each := self._states[number], _Character) else 1 for number in reached))
            if position < len(text):
                active = {
                    state.next
                    for each in reached
                    if isinstance(state := self._states[each], _Character) and state.accepts(text[position])
                }
        return False

    def _follow(self, states: Iterable[int], text: str, position: int, reached: set[int]) -> bool:
        """Add to *reached* all states that need no further character. Returns whether the pattern matches."""
        open_states = list(states)
        while open_states:
            number = open_states.pop()
            if number in reached:
                continue
            reached.add(number)
            match self._states[number]:
                case _Accept():
                    return True
                case _Split(ways):
                    open_states += ways
                case _At(holds, following) if holds(text, position):
                    open_states.append(following)
                case _:
                    pass
        return False

    def _add(self, state: _State) -> int:
        if len(self._states) >= STATES_MAX:
            raise BadPattern(_TOO_LARGE)
        self._states.append(state)
        return len(self._states) - 1

    def _sequence(self, items: Iterable[Any], following: int) -> int:
        """Compile *items*, which go on to the state *following*. Returns their first state."""
        self._compiled += 1
        if self._compiled > STATES_MAX:  # also of what has no states, as in (){1000}
            raise BadPattern(_TOO_LARGE)
        for operation, argument in reversed(list(items)):
            following = self._item(operation, argument, following)
        return following

    def _item(self, operation: Any, argument: Any, following: int) -> int:
        if operation is sre.SUBPATTERN:
            _, added, removed, items = argument
            if added or removed:
                raise BadPattern("it changes flags inside; write the pattern without them")
            return self._sequence(items, following)
        if operation is sre.BRANCH:
            return self._add(_Split(tuple(self._sequence(items, following) for items in argument[1])))
        if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):  # which one matters for what is captured only
            least, most, items = argument
            return self._repeat(least, most, items, following)
        if operation is sre.AT:
            if argument not in _PLACES:
                raise BadPattern(f"{str(argument).lower()} is not accepted")
            return self._add(_At(_PLACES[argument], following))
        cost = len(argument) if operation is sre.IN else 1
        return self._add(_Character(_accepts(operation, argument), following, cost))

    def _repeat(self, least: int, most: Any, items: Any, following: int) -> int:
        if most is sre.MAXREPEAT:
            loop = self._add(_Split(()))  # its ways are known only when its content is
            self._states[loop] = _Split((self._sequence(items, loop), following))
            following = loop
        else:
            end = following
            for _ in range(most - least):
                following = self._add(_Split((self._sequence(items, following), end)))
        for _ in range(least):
            following = self._sequence(items, following)
        return following


@lru_cache(maxsize=256)
def compiled(source: str) -> Pattern:
    """Compile a pattern. Raises ``BadPattern``."""
    try:
        return Pattern(source)
    except RecursionError:
        raise BadPattern("too many brackets are open in it") from None


def _parsed(source: str) -> Any:
    if len(source) > PATTERN_CHARACTERS_MAX:
        raise BadPattern(f"it has more than {PATTERN_CHARACTERS_MAX:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a later Python may read in another way
            parsed = parser.parse(source)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadPattern(f"it is not a regular expression: {error}") from None
    if parsed.state.flags & ~re.UNICODE.value:
        raise BadPattern("it changes flags inside; write the pattern without them")
    return parsed


def _accepts(operation: Any, argument: Any) -> Callable[[str], bool]:
    if operation is sre.ANY:
        return lambda character: character != "\n"
    if operation is sre.LITERAL:
        return lambda character: ord(character) == argument
    if operation is sre.NOT_LITERAL:
        return lambda character: ord(character) != argument
    if operation is sre.RANGE:
        low, high = argument
        return lambda character: low <= ord(character) <= high
    if operation is sre.CATEGORY:
        matches = re.compile(_CATEGORIES[argument]).match
        return lambda character: matches(character) is not None
    if operation is sre.IN:
        is_negated = argument[0][0] is sre.NEGATE
        members = [_accepts(*member) for member in argument[is_negated:]]
        return lambda character: any(member(character) for member in members) is not is_negated
    name = {sre.GROUPREF: "a reference to a group", sre.ASSERT: "(?=…)", sre.ASSERT_NOT: "(?!…)"}.get(operation)
    raise BadPattern(f"{name or str(operation).lower()} is not accepted: it cannot be matched in bounded time")


def _is_boundary(text: str, position: int) -> bool:
    before, after = text[position - 1 : position] if position else "", text[position : position + 1]
    return _is_word(before) is not _is_word(after)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


_PLACES: Final[dict[Any, Callable[[str, int], bool]]] = {
    sre.AT_BEGINNING: lambda _, position: position == 0,
    sre.AT_BEGINNING_STRING: lambda _, position: position == 0,
    sre.AT_END: lambda text, position: position == len(text),
    sre.AT_END_STRING: lambda text, position: position == len(text),
    sre.AT_BOUNDARY: _is_boundary,
    sre.AT_NON_BOUNDARY: lambda text, position: not _is_boundary(text, position),
}
_CATEGORIES: Final[dict[Any, str]] = {
    sre.CATEGORY_DIGIT: "[0-9]",  # as ECMAScript has it
    sre.CATEGORY_NOT_DIGIT: "[^0-9]",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}
