"""The ``--help`` of the groups."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from fastflow.commands.bus import bus
from fastflow.commands.runners import runners
from fastflow.commands.schedules import schedules
from fastflow.commands.secrets import keys


@pytest.mark.parametrize("group", [bus, keys, runners, schedules], ids=lambda group: group.name)
def test_no_summary_of_a_command_is_cut(group: click.Group) -> None:
    """The first sentence of each command fits a terminal of 80 characters."""
    said = CliRunner().invoke(group, ["--help"], terminal_width=80).output
    assert [line for line in said.splitlines() if line.endswith("...") and "[ARGS]" not in line] == []
