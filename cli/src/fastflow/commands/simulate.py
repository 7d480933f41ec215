"""The ``simulate`` command: what the schedulers will do in the next days. Options in, printed lines out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from msgspec.structs import replace

from fastflow.commands.validate import report, validation_settings
from fastflow.errors import FAILED, BadUsage, NothingAnswers
from fastflow.local.checks import check
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.terminal import simulation as shown
from fastflow.terminal.printer import json_option, print_json
from fastflow_api import Client
from fastflow_api.shapes import Simulation
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.simulation.scenario import ASSUMED_S, SLOTS, Scenario, SimulatedPipeline
from fastflow_contracts.simulation.simulate import DAYS_MAX
from fastflow_contracts.simulation.simulate import simulate as foresee

_TIMES: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--days", type=click.IntRange(1, DAYS_MAX), default=7, show_default=True, help="Days to look ahead.")
@click.option("--from", "since", metavar="TIME", type=click.DateTime(_TIMES), help="When it begins, UTC; default now.")
@click.option("--slots", type=click.IntRange(1, 10_000), help="Runs at once; default: slots of the live runners, or 4.")
@click.option(
    "--assume",
    metavar="SECONDS",
    type=click.FloatRange(0, 864_000),
    default=ASSUMED_S,
    show_default=True,
    help="How long runs take that were never measured.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With DIR: keep what it changes as a page.",
)
@json_option
@api_options
def simulate(
    folder: Path | None,
    days: int,
    since: datetime | None,
    slots: int | None,
    assume: float,
    page: Path | None,
    as_json: bool,
    target: FindTarget,
) -> None:
    """Simulate the next days: what runs when, where runs wait, what is refused, what changes of the clock do.

    It uses the rules of the schedulers, with the deployed pipelines, measured durations and the slots of the live
    runners; it starts nothing. With DIR, a pipeline's folder or the folder of all pipelines, it simulates these in
    their place, and prints the difference. A folder with problems is left out, and stays as it is deployed; then the
    exit code is 1. Without an installation, only DIR.
    """
    if page is not None and folder is None:
        raise BadUsage("--html shows what DIR changes; give DIR, or open the page /simulation of the dashboard.")
    begin = None if since is None else since.replace(tzinfo=UTC)
    specs, bad = (None, set[str]()) if folder is None else _specs(folder)

    async def deployed(client: Client) -> None:
        found = await client.simulation(days=days, since=begin, slots=slots, assume=assume)
        print_json(found) if as_json else click.echo(shown.text(found))

    async def comparison(client: Client, specs: Mapping[PipelineName, PipelineSpec]) -> None:
        given: dict[str, dict[str, Any]] = {name: _without_secrets(spec) for name, spec in specs.items()}
        if page is not None:
            text = await client.simulation_page(given, days=days, since=begin, slots=slots, assume=assume, keep=bad)
            _write(page, text)
            return
        found = await client.compare_simulation(given, days=days, since=begin, slots=slots, assume=assume, keep=bad)
        if as_json:
            print_json(found)
        else:
            click.echo(shown.text(found.proposed))
            click.echo(f"\n{shown.differences(found)}")

    if specs is None:
        ask(target, deployed)
        return
    try:
        found_target = target()
    except NothingAnswers:
        if page is not None:
            raise
        alone = _alone(specs, begin or now(), days, slots or SLOTS, assume)
        print_json(alone) if as_json else click.echo(shown.text(alone))
        click.echo("No installation is known, so nothing is compared and no duration is measured.", err=True)
    else:
        ask(lambda: found_target, lambda client: comparison(client, specs))
    if bad:
        raise SystemExit(FAILED)


def _write(page: Path, text: bytes) -> None:
    try:
        page.write_bytes(text)
    except OSError as error:
        raise BadUsage(f"--html: {page} cannot be written: {error.strerror}.") from None
    click.echo(f"{page} shows what is proposed, and the difference.", err=True)


def _specs(folder: Path) -> tuple[dict[PipelineName, PipelineSpec], set[str]]:
    """The pipelines in *folder*, and the names of those that are not valid.

    Prints the problems of the latter, as ``validate`` does. Exits if no pipeline is valid.
    """
    settings = validation_settings(os.environ)
    found = check(folder, settings)
    bad = [(where, pipeline) for where, pipeline in found if pipeline.problems]
    for where, pipeline in bad:
        click.echo(report(where, pipeline, settings.policy, now(), 0), err=True)
    specs = {pipeline.name: pipeline.version.spec for _, pipeline in found if pipeline.version}
    if not specs:
        click.echo("Nothing is simulated; mend the problems first.", err=True)
        raise SystemExit(FAILED)
    names = {str(pipeline.name) for _, pipeline in bad}
    if names:
        click.echo(f"Left out, with the problems above: {', '.join(sorted(names))}.", err=True)
    return specs, names


def _without_secrets(spec: PipelineSpec) -> dict[str, Any]:
    """The settings that decide when it runs, for another machine: no variable, no webhook."""
    nothing: dict[str, Any] = {"webhook_key": None, "webhook": None, "default_env": {}, "encrypted_env": {}}
    schedules = tuple(replace(entry, **nothing) for entry in spec.schedules)
    bare: dict[str, Any] = msgspec.to_builtins(replace(spec, **nothing, schedules=schedules))
    return bare


def _alone(
    specs: Mapping[PipelineName, PipelineSpec], begin: datetime, days: int, slots: int, assume: float
) -> Simulation:
    pipelines: Sequence[SimulatedPipeline] = [
        SimulatedPipeline(name=name, spec=spec) for name, spec in sorted(specs.items())
    ]
    scenario = Scenario(pipelines=tuple(pipelines), slots=slots, assumed_s=assume)
    return msgspec.convert(foresee(scenario, begin, days), Simulation, from_attributes=True)
