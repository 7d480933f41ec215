"""The ``schema`` command: the JSON Schema of pipeline.json, for editors."""

from __future__ import annotations

import click
import msgspec

from fastflow_contracts.pipelines.format.json_schema import pipeline_schema


@click.command()
def schema() -> None:
    """Print the JSON Schema of pipeline.json; a gateway serves the same at /api/schema/pipeline.json."""
    click.echo(msgspec.json.format(msgspec.json.encode(pipeline_schema()), indent=2))
