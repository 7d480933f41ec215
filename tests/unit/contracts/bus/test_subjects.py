"""Where a response may be sent."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.subjects import INBOX_CHARACTERS_MAX, is_inbox


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
