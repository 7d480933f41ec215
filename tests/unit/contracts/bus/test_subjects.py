"""Where a response may be sent, and how long a subject may be."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

import pytest

from fastflow_contracts.bus import permissions, streams, subjects
from fastflow_contracts.bus.subjects import (
    INBOX_CHARACTERS_MAX,
    SUBJECT_BYTES_MAX,
    TOKEN_CHARACTERS_MAX,
    ItemsRef,
    JobRef,
    RunRef,
    ServiceRef,
    TriggerRef,
    VersionRef,
    is_inbox,
)
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import NAME_CHARACTERS_MAX, BadToken, PipelineName
from fastflow_contracts.pipelines.format.value_types import ID_CHARACTERS_MAX

RUN: Final = RunId("6f1e7a52-3d5b-5c0e-9a44-fa57f1000001")
LONGEST: Final = PipelineName("." * NAME_CHARACTERS_MAX)
TOO_LONG: Final = "x" * (TOKEN_CHARACTERS_MAX + 1)
PREFIX: Final = max(
    len(subject.partition("$KV.")[0]) for user in permissions.User for subject in permissions.grant(user).publish
)
"""The longest part of a request's subject before a key, without the name of a consumer."""
_OF_WHOLE_SUBJECTS: Final = (
    "value_subject",
    "value_key",
    "object_notes",
    "work_of",
    "any_work_of",
    "told_on",
    "trigger_token",
)


_OF_IDS: Final = (
    "chain_key",
    "operation_key",
    "operation_items_key",
    "run_key_of_any_pipeline",
    "skipped",
    "dead_trigger",
)
"""They take no name, or shorten it."""


def builders() -> dict[str, Callable[..., str]]:
    """Every function that makes a subject or a key from names."""
    found = inspect.getmembers(subjects, inspect.isfunction)
    return {
        name: function
        for name, function in found
        if function.__module__ == subjects.__name__
        and not name.startswith(("_", "is_", "parse_", "attempt_of_", "any_name_"))
        and name not in _OF_WHOLE_SUBJECTS
    }


def arguments(builder: Callable[..., str], pipeline: str, text: str) -> list[Any]:
    """The arguments of *builder*: *pipeline* for each name of one, *text* for each other text."""
    values: dict[str, Any] = {
        "Kind": "notebook",
        "RunRef": RunRef(PipelineName(pipeline), RUN),
        "JobRef": JobRef(PipelineName(pipeline), text),
        "TriggerRef": TriggerRef(PipelineName(pipeline), text),
        "VersionRef": VersionRef(PipelineName(pipeline), text),
        "ServiceRef": ServiceRef("scheduler", text),
        "ItemsRef": ItemsRef(RUN, 10**5),
        "PipelineName": pipeline,
        "RunId": RUN,
        "int": 10**12,
        "str": text,
    }
    return [values[each.annotation] for each in inspect.signature(builder).parameters.values()]


@pytest.mark.parametrize("name", builders())
def test_no_builder_makes_a_subject_that_a_server_refuses(name: str) -> None:
    """The longest names that are accepted anywhere leave room for the request that holds the subject."""
    longest = builders()[name](*arguments(builders()[name], LONGEST, "\U0001f600" * ID_CHARACTERS_MAX))
    assert PREFIX + len(f"$KV.{subjects.SCHEDULES}.{longest}") + 32 <= SUBJECT_BYTES_MAX


@pytest.mark.parametrize("name", [name for name in builders() if name not in _OF_IDS])
def test_no_builder_takes_a_longer_name(name: str) -> None:
    """One of 4,000 bytes, say, from a folder or a record, would close the connection of the service that uses it."""
    with pytest.raises(BadToken, match="use a shorter name"):
        builders()[name](*arguments(builders()[name], TOO_LONG, TOO_LONG))


def test_what_names_a_skip_is_shortened() -> None:
    """Its name may come from a subject of the outside; it has no more than a hash of a long one."""
    for builder in (subjects.skipped, subjects.dead_trigger):
        assert len(builder(TOO_LONG, RUN)) < len(builder("x" * subjects.ODD_CHARACTERS_MAX, RUN))
        assert builder(TOO_LONG, RUN) != builder(TOO_LONG + "x", RUN)


def test_a_stream_has_no_other_long_subjects() -> None:
    """Fixed subjects are short."""
    assert all(len(each) < 64 for stream in streams.STREAMS for each in stream.subjects or ())


@pytest.mark.parametrize("subject", ["_INBOX.a", "_INBOX_gateway.Ab3.9", "_INBOX.a/b,c:d=?", "_INBOX." + "a" * 248])
def test_inboxes_of_clients_are_accepted(subject: str) -> None:
    """Of every user and every client library."""
    assert is_inbox(subject)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "_INBOX",
        "_INBOX.",
        "_INBOX..a",
        "_INBOX.a.",
        "_INBOX.*",
        "_INBOX.a.>",
        "_INBOX.a b",
        "_INBOX.a\r\nPUB x",
        "_INBOX.a\0",
        "_INBOX.ä",
        "_INBOX_*.a",
        "_INBOXES.a",
        "ff.trigger.demo",
        "$KV.ff_runs.run.a.b",
        "_INBOX." + "a" * INBOX_CHARACTERS_MAX,
    ],
)
def test_other_subjects_are_not_inboxes(subject: str) -> None:
    """Patterns, protocol lines, subjects with a meaning of their own, and subjects that are too long."""
    assert not is_inbox(subject)
