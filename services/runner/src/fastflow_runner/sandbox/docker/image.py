"""The worker image, named by its content and built once by the daemon that runs it. I/O.

This module holds the image's name, its build context and the build. ``worker.Dockerfile`` beside this module defines
the image's content (``deploy/compose`` links to it).
"""

import asyncio
import hashlib
import io
import re
import tarfile
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aiodocker import Docker
from aiodocker.exceptions import DockerError

from fastflow_runner import guest
from fastflow_runner.errors import RunnerError

WORKER_REPOSITORY: Final = "fastflow-worker"
WORKER_BASE_IMAGE: Final = "debian:bookworm-slim"
WORKER_PYTHON: Final = "3.11"
"""Version of the image's ``/usr/bin/python3``. The build fails if the base image has another."""

GUEST: Final = Path(guest.__file__).parent
"""The image contains this whole folder."""

BUILD_S_MAX: Final = 900.0
SILENCE_S_MAX: Final = 180.0
"""A build without output for this long hangs."""
LOOK_S_MAX: Final = 10.0
ERROR_LINES_MAX: Final = 20

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class ImageFailed(RunnerError):
    """The daemon could not build the worker image. The message ends with the last lines of output."""


async def ensure_worker_image(
    docker: Docker,
    *,
    progress: Callable[[str], None],
    base_image: str = WORKER_BASE_IMAGE,
    ca_bundle: Path | None = None,
    labels: Mapping[str, str] | None = None,
) -> str:
    """Return the worker image's reference (``fastflow-worker:<12 hex digits>``). Build the image if it is missing.

    Runners that build at once get the same image.

    Args:
        docker: the daemon.
        progress: called with each line that the daemon prints.
        base_image: the image to build from.
        ca_bundle: PEM file of certificates to trust in addition to Debian's.
        labels: labels of a new image.

    Raises:
        ImageFailed: the build failed.
    """
    context = worker_context(ca_bundle)
    arguments = worker_arguments(base_image)
    reference = worker_reference(context, arguments)
    try:
        async with asyncio.timeout(LOOK_S_MAX):
            await docker.images.inspect(reference)
    except DockerError as error:
        if error.status != 404:
            raise
    else:
        return reference
    progress(f"building {reference} from {base_image}; this happens once")
    await _build(docker, reference, context, arguments, labels, progress)
    return reference


def worker_context(ca_bundle: Path | None) -> dict[str, bytes]:
    """Return the build context: file name -> content. Raises ``ImageFailed`` if *ca_bundle* cannot be read."""
    context = {f"guest/{path.relative_to(GUEST)}": path.read_bytes() for path in GUEST.rglob("*.py")}
    context["Dockerfile"] = Path(__file__).with_name("worker.Dockerfile").read_bytes()
    try:
        context["extra-ca.pem"] = ca_bundle.read_bytes() if ca_bundle else b""
    except OSError as error:
        raise ImageFailed(f"the CA bundle cannot be read: {error}. Set FASTFLOW_CA_BUNDLE to a PEM file.") from error
    return context


def worker_arguments(base_image: str) -> dict[str, str]:
    """Return the arguments of the build."""
    return {"WORKER_BASE_IMAGE": base_image, "WORKER_PYTHON": WORKER_PYTHON}


def worker_reference(context: Mapping[str, bytes], arguments: Mapping[str, str]) -> str:
    """Return the image's name, a hash of everything that defines its content."""
    digest = hashlib.sha256()
    for name, content in sorted([*context.items(), *((k, v.encode()) for k, v in arguments.items())]):
        digest.update(b"%s %d\n%s" % (name.encode(), len(content), content))
    return f"{WORKER_REPOSITORY}:{digest.hexdigest()[:12]}"


async def _build(
    docker: Docker,
    reference: str,
    context: Mapping[str, bytes],
    arguments: Mapping[str, str],
    labels: Mapping[str, str] | None,
    progress: Callable[[str], None],
) -> None:
    last: deque[str] = deque(maxlen=ERROR_LINES_MAX)
    steps = docker.images.build(
        fileobj=io.BytesIO(context_tar(context)),
        encoding="identity",
        tag=reference,
        buildargs=arguments,
        labels=labels,
        forcerm=True,
        stream=True,
        timeout=BUILD_S_MAX,
    )
    try:
        async with asyncio.timeout(SILENCE_S_MAX) as silence:
            async for step in steps:
                silence.reschedule(asyncio.get_running_loop().time() + SILENCE_S_MAX)
                for line in _COLOUR.sub("", _said(step)).splitlines():
                    if line := line.strip():
                        last.append(line)
                        progress(line)
    except DockerError as error:
        raise ImageFailed("\n".join(["The worker image could not be built:", *last, error.message])) from error
    except TimeoutError as error:
        bounds = f"within {BUILD_S_MAX:.0f} s, or its build printed nothing for {SILENCE_S_MAX:.0f} s"
        raise ImageFailed("\n".join(["The worker image could not be built:", *last, f"not {bounds}"])) from error


def _said(step: Mapping[str, object]) -> str:
    """Return the text of a message from the daemon, without the progress of each layer in a pull."""
    if step.get("progressDetail"):
        return ""
    return str(step.get("stream") or step.get("status") or "")


def context_tar(context: Mapping[str, bytes]) -> bytes:
    """Return the build context as an uncompressed tar; the same files give the same bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in sorted(context.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()
