"""What the command says of runs, and the example pipelines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.installation import Installation

EXAMPLES = Path(__file__).parents[3] / "examples" / "pipelines"


def ended(there: Installation, pipeline: str) -> dict[str, Any]:
    """Return the newest run of *pipeline* as scripts see it."""
    return runs(there, pipeline)[0]


def runs(there: Installation, pipeline: str) -> list[dict[str, Any]]:
    """Return the runs of *pipeline*, newest first."""
    found = json.loads(there.command("ps", "-a", "--pipeline", pipeline, "--json").stdout)
    assert isinstance(found, list)
    return found
