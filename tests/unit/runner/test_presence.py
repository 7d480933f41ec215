"""What a runner knows from the record of its previous process."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fastflow_runner.presence import died_with
from tests.support.records import a_presence


@pytest.mark.parametrize(
    ("sandbox", "host", "is_gone"),
    [("process", "here", True), ("process", "elsewhere", False), ("docker", "here", False)],
)
def test_only_a_process_of_this_host_is_known_to_have_died_with_its_runner(
    sandbox: str, host: str, is_gone: bool
) -> None:
    """A container that is not found may be on another daemon, even if the host has the same name."""
    present = replace(a_presence("one"), host="here")
    former = replace(present, sandbox=sandbox, host=host)
    assert died_with(former, present) is is_gone
