"""Labels of runners: what a label is, and which runner may take which run. Pure.

A runner takes a run if it has all labels that the run asks for. So a runner without labels takes only runs that ask for
none, and a runner with labels takes those as well, unless it is kept for those that ask for some.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Final, TypeAlias

import msgspec

from fastflow_contracts.errors import FastFlowError

LABEL_CHARACTERS_MAX: Final = 40
LABELS_MAX: Final = 8
"""Labels that one run asks for: all of them, in one subject."""
RUNNER_LABELS_MAX: Final = 32

_LABEL: Final = rf"[a-z0-9]([a-z0-9_-]{{0,{LABEL_CHARACTERS_MAX - 2}}}[a-z0-9])?"
LABEL_PATTERN: Final = rf"^{_LABEL}$"
LABEL_RULE: Final = f"1 to {LABEL_CHARACTERS_MAX} of a-z, 0-9, '-' and '_', the first and the last a letter or a digit"
RUNNER_LABELS_PATTERN: Final = rf"\s*({_LABEL}(\s*,\s*{_LABEL}){{0,{RUNNER_LABELS_MAX - 1}}})?\s*"
"""Of ``RUNNER_LABELS``: labels, separated by commas."""

StoredLabels: TypeAlias = Annotated[
    tuple[Annotated[str, msgspec.Meta(pattern=rf"^{_LABEL}\Z")], ...], msgspec.Meta(max_length=LABELS_MAX)
]
"""The labels that a run asks for, in a record: sorted, each once."""

_JOINT: Final = "+"
"""Between the labels of a set in a subject; no label has it."""


class BadLabel(FastFlowError):
    """The text is no set of labels."""


def in_order(labels: Collection[str]) -> tuple[str, ...]:
    """Return *labels* sorted, each once: two runs that ask for the same have the same."""
    return tuple(sorted(set(labels)))


def label_token(labels: Collection[str]) -> str:
    """Return a set of labels as one token of a subject. Raises ``BadLabel``."""
    return _JOINT.join(_checked(in_order(labels)))


def labels_in(token: str) -> tuple[str, ...]:
    """Return the labels in a token. Raises ``BadLabel``."""
    return in_order(_checked(tuple(token.split(_JOINT))))


def runner_labels(text: str) -> tuple[str, ...]:
    """Return the labels of a runner from the text of its setting."""
    return in_order([each.strip() for each in text.split(",") if each.strip()])


def lacking(wanted: Collection[str], labels: Collection[str]) -> tuple[str, ...]:
    """Return those of *wanted* that are not among *labels*. A runner takes a run only if it lacks none."""
    return tuple(label for label in wanted if label not in labels)


def takes(wanted: Collection[str], labels: Collection[str], *, only_labelled: bool) -> bool:
    """Whether a runner with *labels* takes a run that asks for *wanted*. *only_labelled*: none that asks for none."""
    return not lacking(wanted, labels) and bool(wanted or not only_labelled)


def _checked(labels: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(labels) <= LABELS_MAX or not all(re.fullmatch(_LABEL, label) for label in labels):
        raise BadLabel(f"a set of labels is 1 to {LABELS_MAX} labels; a label is {LABEL_RULE}.")
    return labels
