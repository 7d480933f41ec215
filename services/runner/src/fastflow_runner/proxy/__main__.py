"""``python -m fastflow_runner.proxy``: the proxy to Docker's socket, configured by its environment like the runner."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fastflow_contracts.service.lifecycle import EXIT_USAGE, log_ready, run_process
from fastflow_contracts.service.settings import BadSettings, Env, load, names
from fastflow_runner.errors import RunnerError
from fastflow_runner.proxy.request import Build, Ours
from fastflow_runner.proxy.server import DockerProxy
from fastflow_runner.sandbox.docker.image import context_tar, worker_arguments, worker_context, worker_reference
from fastflow_runner.sandbox.network import openings, package_hosts
from fastflow_runner.settings import RunnerSettings as RunnerSettings


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The runner's settings that define what is ours, and the addresses of both sides."""

    listen: Annotated[
        str, Env("FASTFLOW_PROXY_LISTEN", "Address for runners: host:port, or the path of a Unix socket.")
    ] = "127.0.0.1:2375"
    socket: Annotated[str, Env("FASTFLOW_PROXY_SOCKET", "The daemon's socket.")] = "/var/run/docker.sock"
    installation: Annotated[
        str, Env("FASTFLOW_INSTALLATION", "Name of the only installation to serve: `bus ensure --installation`.")
    ] = ""
    store_volume: Annotated[str, Env("FASTFLOW_STORE_VOLUME", "As the runner's.")] = "fastflow-store"
    network: Annotated[str, Env("FASTFLOW_NETWORK", "As the runner's.")] = "fastflow"
    network_open: Annotated[
        str, Env("FASTFLOW_NETWORK_OPEN", "As the runner's. Also give it the runner's indexes and proxies.")
    ] = ""
    container_runtime: Annotated[str, Env("FASTFLOW_CONTAINER_RUNTIME", "As the runner's.")] = ""
    seccomp: Annotated[Literal["fastflow", "docker"], Env("FASTFLOW_SECCOMP", "As the runner's.")] = "fastflow"
    worker_base_image: Annotated[str, Env("WORKER_BASE_IMAGE", "As the runner's.")] = "debian:bookworm-slim"
    worker_image: Annotated[str, Env("FASTFLOW_WORKER_IMAGE", "As the runner's.")] = ""
    ca_bundle: Annotated[str, Env("FASTFLOW_CA_BUNDLE", "As the runner's.")] = ""
    log_json: Annotated[bool, Env("LOG_JSON", "Log JSON lines instead of text.")] = False
    log_level: Annotated[str, Env("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR.")] = "INFO"


def ours(settings: ProxySettings, environ: Mapping[str, str]) -> Ours:
    """Return what a runner with the same settings uses.

    Args:
        environ: names the indexes and proxies of packages.

    Raises:
        ImageFailed: the CA bundle cannot be read.
        BadOpening: what is to be open cannot be read.
    """
    mine = Ours(
        settings.installation,
        frozenset({settings.worker_image}),
        settings.network,
        settings.store_volume,
        opened=(*openings(settings.network_open), *package_hosts(environ)),
        runtime=settings.container_runtime,
        own_seccomp=settings.seccomp == "fastflow",
    )
    if settings.worker_image:
        return mine
    context = worker_context(Path(settings.ca_bundle) if settings.ca_bundle else None)
    arguments = worker_arguments(settings.worker_base_image)
    reference = worker_reference(context, arguments)
    build = Build(reference, context_tar(context), arguments)
    return mine._replace(images=frozenset({reference}), build=build)


async def serve(mine: Ours, settings: ProxySettings, stop: asyncio.Event) -> None:
    """Serve runners until *stop* is set. Attachments then end, and runners attach again through the next proxy."""
    async with DockerProxy(mine, settings.socket).open(settings.listen):
        log_ready()
        await stop.wait()


def main() -> None:
    """Run the proxy until it is stopped. Never returns."""
    try:
        settings = load(ProxySettings, os.environ, also_known=names(RunnerSettings))
        if not settings.installation:
            raise BadSettings("FASTFLOW_INSTALLATION must name the installation to serve.")
        mine = ours(settings, os.environ)
    except (BadSettings, RunnerError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log yet
        raise SystemExit(EXIT_USAGE) from None

    async def proxy(stop: asyncio.Event) -> None:
        await serve(mine, settings, stop)

    run_process("docker-proxy", proxy, log_json=settings.log_json, log_level=settings.log_level)


if __name__ == "__main__":
    main()
