"""The pipelines of these tests."""

from __future__ import annotations

from pathlib import Path

FOLDERS = Path(__file__).parent / "pipelines"
GLOBAL_TIMEOUT_S = 2
"""What the installation sets for pipelines without a timeout of their own."""
