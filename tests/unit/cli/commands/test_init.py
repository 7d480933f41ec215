"""``fastflow init``: a new pipeline is valid and explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fastflow.commands.init import files, init
from fastflow.commands.validate import validate
from fastflow.errors import BadUsage
from fastflow_contracts.names import BadName
from fastflow_contracts.pipelines.format.manifest import read_manifest
from fastflow_contracts.pipelines.format.spec import PipelineSpec


def test_a_new_pipeline_is_valid(tmp_path: Path) -> None:
    """It has no problems and no notices. Missing parent folders are created."""
    done = CliRunner().invoke(init, ["greet", "--dir", str(tmp_path / "pipelines")], catch_exceptions=False)
    assert done.exit_code == 0
    folder = tmp_path / "pipelines" / "greet"
    assert done.stdout.split() == [str(folder / file) for file in files("greet")]
    checked = CliRunner().invoke(validate, [str(tmp_path / "pipelines"), "--json"], catch_exceptions=False)
    (report,) = json.loads(checked.stdout)
    assert (checked.exit_code, report["name"], report["problems"], report["notices"]) == (0, "greet", [], [])


def test_every_explained_field_exists() -> None:
    """All fields of its pipeline.json are explained, and the example values are valid."""
    made = files("greet")
    rows = [row.split("|")[1:3] for row in made["README.md"].splitlines() if row.startswith("| `")]
    told = {name.strip(" `"): says for names, says in rows for name in names.split(",")}
    assert json.loads(made["pipeline.json"]).keys() <= told.keys() <= {*PipelineSpec.__struct_encode_fields__}
    for name, value in (("schedule_cron", "0 3 * * *"), ("mem_hard_limit", "512MB"), ("max_instances", 1)):
        assert json.dumps(value) in told[name]
        assert read_manifest(json.dumps({name: value}).encode(), file_name="pipeline.json").problems == ()


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    """A name that no pipeline can have creates no folder."""
    (tmp_path / "greet").mkdir()
    with pytest.raises(BadUsage, match="already exists"):
        CliRunner().invoke(init, ["greet", "--dir", str(tmp_path)], catch_exceptions=False)
    with pytest.raises(BadName):
        CliRunner().invoke(init, ["a b", "--dir", str(tmp_path)], catch_exceptions=False)
    assert [path.name for path in tmp_path.rglob("*")] == ["greet"]
