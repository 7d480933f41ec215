"""What the access log shows of a path."""

from __future__ import annotations

import pytest

from fastflow_gateway.http.middleware import shown_path


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/api/webhooks/demo/key", "/api/webhooks/demo/***"),
        ("/api/webhooks/demo/key/more", "/api/webhooks/demo/***"),
        ("//api//webhooks//demo//key", "//api//webhooks//demo/***"),
        ("/api/webhooks/demo/a\nb", "/api/webhooks/demo/***"),
        ("/api/runs/a\nb", "/api/runs/a\\nb"),
        ("/api/runs", "/api/runs"),
    ],
)
def test_a_logged_path_has_no_key_and_one_line(path: str, shown: str) -> None:
    """Wherever the key is in the path."""
    assert shown_path(path) == shown
