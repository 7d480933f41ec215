"""Where an answer may be sent."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.subjects import INBOX_CHARACTERS_MAX, is_inbox


@pytest.mark.parametrize("subject", ["_INBOX.a", "_INBOX_gateway.Ab3.9", "_INBOX.a/b,c:d=?", "_INBOX." + "a" * 248])
def test_what_clients_listen_on_is_an_inbox(subject: str) -> None:
    """Of any user, whatever its library makes of it."""
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
def test_nothing_else_is(subject: str) -> None:
    """Patterns, lines of the protocol, subjects that mean something, and what is longer than a line may be."""
    assert not is_inbox(subject)
