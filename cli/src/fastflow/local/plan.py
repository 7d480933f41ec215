"""Decides what ``fastflow up`` starts, from options and environment. Rules; it also checks the file system."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from fastflow.errors import BadUsage, NoSuchThing
from fastflow.local.connection import DATA_DIR, logged_in, named_url
from fastflow_contracts.pipelines.folder.bundle import shown
from fastflow_contracts.pipelines.folder.discovery import SCRIPT
from fastflow_contracts.service.settings import without_service_links

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
DEFAULT_PIPELINES = "pipelines"
DEFAULTS: Mapping[str, str] = {
    "LOG_LEVEL": "WARNING",
    "UV_PRE_HEAT": "true",
    "FASTFLOW_GRACE_S": "2",
    "FASTFLOW_LEAVE_RUNNING": "false",
}
"""Defaults under ``up`` that differ from those of single services: at Ctrl-C a person waits, and no other runner
takes over."""

FIRST_PIPELINE = """\
there is no folder ./pipelines. Three lines create a first pipeline:

  mkdir -p pipelines/hello
  echo 'print("Hello!")' > pipelines/hello/main.py
  fastflow up

Or name a folder: fastflow up DIR. Or set GIT_REPO_URL."""


class UpOptions(NamedTuple):
    """The options of the command line; None: not given."""

    pipelines_dir: Path | None = None
    host: str | None = None
    port: int | None = None
    data_dir: Path | None = None
    sandbox: str | None = None
    nats_url: str | None = None
    mqtt_port: int | None = None


class UpPlan(NamedTuple):
    """What ``up`` starts."""

    data_dir: Path
    host: str
    port: int
    """0: any free one."""
    nats_url: str | None
    """None: an embedded bus."""
    source: str
    """The source of the pipelines, for people."""
    environ: dict[str, str]
    """The services' environment, without the bus's address and the token."""
    mqtt_port: int | None = None
    """Port of the embedded bus for devices on MQTT; None: there are none."""

    def at(self, port: int) -> UpPlan:
        """The plan with the *port* that was taken."""
        return self._replace(port=port, environ={**self.environ, "FASTFLOW_PORT": str(port)})


def make_plan(options: UpOptions, environ: Mapping[str, str], *, here: Path) -> UpPlan:
    """Make the plan; options win over the environment. Raises ``BadUsage`` or ``NoSuchThing`` with advice."""
    environ = without_service_links(environ)
    data_dir = here / (options.data_dir or environ.get("FASTFLOW_DATA_DIR") or DATA_DIR)
    _check_text(data_dir)
    host = options.host or environ.get("FASTFLOW_HOST") or DEFAULT_HOST
    port = options.port if options.port is not None else _port(environ.get("FASTFLOW_PORT"))
    source, chosen = _source(options.pipelines_dir, environ, here)
    folder_hash = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:8]
    settled = {
        **environ,
        "FASTFLOW_HOST": host,
        "FASTFLOW_PORT": str(port),
        "FASTFLOW_DATA_DIR": str(data_dir),
        **chosen,
    }
    if options.sandbox:
        settled["FASTFLOW_SANDBOX"] = options.sandbox
    for name, value in DEFAULTS.items():
        settled.setdefault(name, value)
    # Several installations may share a machine and a bus: each data folder has its own runner.
    settled.setdefault("FASTFLOW_RUNNER_ID", f"{_host_token()}-{folder_hash}")
    nats_url = logged_in(options.nats_url, environ) if options.nats_url else named_url(environ)
    if nats_url is not None:
        _check_address(nats_url)
        if options.mqtt_port is not None:
            raise BadUsage("--mqtt-port is of the embedded bus; docs/mqtt.md says how another server takes MQTT.")
    return UpPlan(data_dir, host, port, nats_url, source, settled, options.mqtt_port)


def with_values(environ: Mapping[str, str], **values: str) -> dict[str, str]:
    """*environ* with *values* in place of both forms of each variable, with and without ``_FILE``."""
    return {
        **{name: value for name, value in environ.items() if name.removesuffix("_FILE") not in values},
        **values,
    }


def dashboard(host: str, port: int) -> str:
    """The address to open in a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}/"


def _check_text(folder: Path) -> None:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise BadUsage(f"the folder {shown(str(folder))} has a name that is not UTF-8; rename it.") from None


def _check_address(url: str) -> None:
    for each in url.split(","):
        try:
            parts = urlsplit(each.strip())
            is_one = parts.scheme in ("nats", "tls", "ws", "wss") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_one = False
        if not is_one:
            raise BadUsage(
                "the address of the bus cannot be read; it looks like nats://user:password@host:4222. Percent-encode "
                "characters such as / and # in the password, or use FASTFLOW_NATS_USER and FASTFLOW_NATS_PASSWORD."
            )


def _source(given: Path | None, environ: Mapping[str, str], here: Path) -> tuple[str, dict[str, str]]:
    repository = environ.get("GIT_REPO_URL", "")
    if given is None and repository:
        return repository, {}
    folder = given or Path(environ.get("PIPELINES_DIR") or DEFAULT_PIPELINES)
    if not (here / folder).is_dir():
        if given is None and not environ.get("PIPELINES_DIR"):
            raise NoSuchThing(FIRST_PIPELINE)
        raise NoSuchThing(f"there is no folder {folder}; give the folder that holds the pipelines' folders.")
    if (here / folder / SCRIPT).is_file() and not any((here / folder).glob(f"*/{SCRIPT}")):
        raise BadUsage(f"{folder} is one pipeline: it has a {SCRIPT}. Give the folder above it.")
    _check_text((here / folder).absolute())
    chosen = {"PIPELINES_DIR": str((here / folder).absolute())}
    return shown(str(folder)), chosen | ({"GIT_REPO_URL": ""} if repository else {})


def _port(text: str | None) -> int:
    if not text:
        return DEFAULT_PORT
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise BadUsage(f"FASTFLOW_PORT {text!r} is not a port; give a number up to 65535, or 0 for any free port.")
    return int(text)


def _host_token() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()) or "runner"
