"""What may be shown of the message of a refused start."""

from __future__ import annotations

import json

import pytest

from fastflow_contracts.runs.messages import SkipRecord, Trigger
from fastflow_contracts.runs.skips import Letter, letter_of
from fastflow_gateway.views.skipped import EVENT_CHARACTERS_MAX, detail
from tests.support.records import T0

RECORD = SkipRecord(at=T0, pipeline="demo", reason="it is full")
SECRET = "secret-value"
HEADERS = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "letter",
    [
        Letter(json.dumps({"env_vars": {"A": SECRET}}).encode(), {}),
        Letter(json.dumps({"env_vars": {"A": SECRET, "B": 1}}).encode(), {}),
        Letter(json.dumps({"parameters": [SECRET]}).encode(), {}),
        Letter(json.dumps({"order": 7, "parameters": {"A": SECRET}}).encode(), HEADERS),
        Letter(f'{{"env_vars": {{"A": "{SECRET}"'.encode(), HEADERS),
        Letter(f'[{{"env_vars": {{"A": "{SECRET}"}}}}'.encode(), HEADERS),
        Letter(b"payload", {"Authorization": SECRET, "X-Hub-Signature-256": SECRET}),
        letter_of(Trigger(env_vars={"A": SECRET}, parameters={"B": SECRET})),
        letter_of(Trigger(event=json.dumps({"env_vars": {"A": SECRET}}).encode())),
        Letter(f'{{"env_vars": {{"A": "{SECRET}"}}, "key": 1}}'.encode(), letter_of(Trigger()).headers),
    ],
)
def test_values_of_variables_and_unknown_headers_are_hidden(letter: Letter) -> None:
    """In run bodies, broken ones, webhook events, our own triggers, and headers."""
    assert SECRET not in str(detail(RECORD, letter))


def test_an_event_is_shown_as_text_with_its_size() -> None:
    """A list cuts it; bytes that are no UTF-8 are replaced."""
    letter = Letter(b"\xff" + b"x" * 10_000, {"Content-Type": "text/plain", "ce-type": "t"})
    whole, cut = detail(RECORD, letter), detail(RECORD, letter, characters_max=EVENT_CHARACTERS_MAX)
    assert (whole.event, whole.event_bytes, whole.event_type) == ("\ufffd" + "x" * 10_000, 10_001, "text/plain")
    assert (len(cut.event or ""), cut.event_bytes) == (EVENT_CHARACTERS_MAX, 10_001)
    assert whole.headers == {"Content-Type": "text/plain", "ce-type": "t"}
    called = detail(RECORD, letter_of(Trigger(event=b"{}", event_headers={"x-github-event": "push"})))
    assert called.headers == {"x-github-event": "push"}


def test_a_start_without_an_event_shows_the_names_that_came_with_it() -> None:
    """And a skip whose message is gone shows its reason."""
    shown = detail(RECORD, letter_of(Trigger(env_vars={"A": "1"}, parameters={"B": "2"})))
    assert (shown.event, shown.env_vars, shown.parameters, shown.headers) == (None, {"A": "***"}, {"B": "***"}, {})
    gone = detail(RECORD, None)
    assert (gone.is_kept, gone.event, gone.reason) == (False, None, "it is full")
