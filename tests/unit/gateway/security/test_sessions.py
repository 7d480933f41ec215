"""Tokens and session cookies."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from fastflow_gateway.security import sessions
from fastflow_gateway.security.sessions import SESSION_S, BrowserSession, Sessions
from tests.support.records import T0


def test_a_session_is_valid_for_its_time_and_its_token() -> None:
    """It ends by the clock, with another token, and if any character is changed."""
    known = Sessions("one token of many")
    cookie = known.new_session(T0)
    session = known.session(cookie, T0)
    assert session is not None
    assert known.session(cookie, T0 + timedelta(seconds=SESSION_S)) is None
    assert Sessions("another token").session(cookie, T0) is None
    for index in range(len(cookie)):
        changed = cookie[:index] + ("A" if cookie[index] != "A" else "Q") + cookie[index + 1 :]
        assert known.session(changed, T0) is None
    other = known.session(known.new_session(T0), T0)
    assert other is not None
    assert not sessions.is_csrf_token(session, other.csrf_token())
    assert sessions.is_csrf_token(session, session.csrf_token())


@given(st.text())
def test_no_other_text_is_a_csrf_token(text: str) -> None:
    """It differs in each page, and any change of a character makes it wrong."""
    session = BrowserSession("id", T0, b"the-secret-part")
    tokens = {session.csrf_token() for _ in range(8)}
    assert len(tokens) == 8
    assert all(sessions.is_csrf_token(session, token) for token in tokens)
    token = tokens.pop()
    assert not sessions.is_csrf_token(session, text)
    assert not sessions.is_csrf_token(session, (text + token)[: len(token)] if text else token[:-1])
    assert not sessions.is_csrf_token(session, token[:-1] + ("0" if token[-1] != "0" else "1"))


@given(st.text())
def test_any_text_may_come_as_a_token_or_a_cookie(text: str) -> None:
    """No text is an error; a wrong one is unknown."""
    known = Sessions("one token of many")
    assert not known.knows_bearer(text)
    assert known.session(text, T0) is None
