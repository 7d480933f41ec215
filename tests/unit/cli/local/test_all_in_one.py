"""The settings of the services that ``fastflow up`` starts together."""

from __future__ import annotations

import pytest

from fastflow.local.all_in_one import parts

ADDRESS = "http://127.0.0.1:7/"


@pytest.mark.parametrize(
    ("given", "url"),
    [({}, ADDRESS), ({"FASTFLOW_PUBLIC_URL": ""}, ADDRESS), ({"FASTFLOW_PUBLIC_URL": "https://f.example"}, None)],
)
def test_runs_get_links_to_the_dashboard(given: dict[str, str], url: str | None) -> None:
    """To its own address, unless there is a public one. The gateway goes by the requests then."""
    made = parts(given, say=lambda line: None, address=ADDRESS)
    settings = {part.name: part.settings for part in made}
    public = given.get("FASTFLOW_PUBLIC_URL", "")
    assert settings["runner"].public_url == (url or public)
    assert settings["gateway"].public_url == public
