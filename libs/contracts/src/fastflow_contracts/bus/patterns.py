"""Subjects with the wildcards ``*`` and ``>``. Pure."""

from __future__ import annotations


def matches(subject: str, pattern: str) -> bool:
    """Return whether *pattern*, with ``*`` and ``>``, matches *subject*."""
    tokens, wanted = subject.split("."), pattern.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(tokens) == len(wanted) and all(each in ("*", token) for token, each in zip(tokens, wanted, strict=True))


def covers(pattern: str, subject: str) -> bool:
    """Return whether *pattern* matches all that *subject*, which may have wildcards too, matches."""
    is_open = subject.split(".")[-1] == ">"
    return matches(subject, pattern) and (not is_open or pattern.split(".")[-1] == ">")


def overlap(one: str, other: str) -> bool:
    """Return whether a subject can match both filters."""
    for mine, theirs in zip(one.split("."), other.split("."), strict=False):
        if ">" in (mine, theirs):
            return True
        if mine != theirs and "*" not in (mine, theirs):
            return False
    return one.count(".") == other.count(".")


def of_template(destination: str) -> str:
    """Return the subjects that the destination of a stream's ``subject_transform`` can give."""
    return ".".join("*" if "{{" in token or "$" in token else token for token in destination.split("."))
