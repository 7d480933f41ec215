"""Runs in the order of their creation, as a sorted collection. A data structure: no I/O.

A list would move everything behind an entry that is removed, and the run that is claimed next is the oldest one. Here
blocks of bounded length hold the entries, so that a change costs the same however many there are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Final, TypeAlias

from fastflow_contracts.ids import RunId

Position: TypeAlias = tuple[int, RunId]
"""When a run was created (microseconds since 1970), and its id. Sorts runs, oldest first."""

BLOCK: Final = 512
"""Entries of a block; one with twice as many is split."""


class Positions:
    """Positions, each once, oldest first."""

    __slots__ = ("_blocks", "_length")

    def __init__(self) -> None:
        self._blocks: list[list[Position]] = []
        """None of them is empty."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def oldest(self) -> Position:
        """Raises ``IndexError`` if there is none."""
        return self._blocks[0][0]

    def add(self, position: Position) -> None:
        """Add a position that is not there yet."""
        self._length += 1
        if not self._blocks:
            self._blocks.append([position])
            return
        index = min(self._block_of(position), len(self._blocks) - 1)
        block = self._blocks[index]
        insort(block, position)
        if len(block) == 2 * BLOCK:
            self._blocks[index : index + 1] = [block[:BLOCK], block[BLOCK:]]

    def remove(self, position: Position) -> None:
        """Remove a position that is there."""
        index = self._block_of(position)
        block = self._blocks[index]
        del block[bisect_left(block, position)]
        if not block:
            del self._blocks[index]
        self._length -= 1

    def newest_first(self, *, at_least: Position | None = None, below: Position | None = None) -> Iterator[Position]:
        """The positions from *at_least* on and before *below*, newest first. Change none meanwhile."""
        last = len(self._blocks) - 1 if below is None else min(self._block_of(below), len(self._blocks) - 1)
        for index in range(last, -1, -1):
            block = self._blocks[index]
            end = len(block) if below is None or index < last else bisect_left(block, below)
            for place in range(end - 1, -1, -1):
                if at_least is not None and block[place] < at_least:
                    return
                yield block[place]

    def oldest_first(self) -> Iterator[Position]:
        """All positions. Change none meanwhile."""
        for block in self._blocks:
            yield from block

    def _block_of(self, position: Position) -> int:
        """The index of the first block that ends with *position* or later; behind the last one if none does."""
        if self._blocks and self._blocks[-1][-1] < position:  # a new run
            return len(self._blocks)
        return bisect_left(self._blocks, position, key=_newest)


def _newest(block: list[Position]) -> Position:
    return block[-1]
