"""Where a browser is sent after signing in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastflow_gateway.http.browsers import local_path


@given(st.text())
def test_any_text_leads_to_a_page_of_this_gateway(text: str) -> None:
    """Never to another host."""
    path = local_path(text)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
