"""What every backend gives its runs: the way to packages, their rules, and the blank specification."""

from __future__ import annotations

from collections.abc import Mapping

from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.folder.origins import allowed_of, is_allowed
from fastflow_contracts.service.settings import BadSettings
from fastflow_runner.environments.store import Place
from fastflow_runner.environments.supply import Supply
from fastflow_runner.environments.variables import Access, access
from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.settings import RunnerSettings

log = get_logger(__name__)


def package_access(settings: RunnerSettings, environ: Mapping[str, str], place: Place) -> Access:
    """The way to packages."""
    found = access(environ, place, settings.index_credentials)
    if found.unbound:
        log.warning("index login ignored", variables=list(found.unbound), hint=_UNBOUND)
    return found


_UNBOUND = "name its index in UV_INDEX (name=https://…), or use FASTFLOW_INDEX_CREDENTIALS"


def supply(settings: RunnerSettings, found: Access) -> Supply:
    """The rules for packages.

    Raises:
        BadSettings: An index that this runner itself uses is not allowed, or not named.
    """
    allowed = allowed_of(settings.allowed_indexes)
    if allowed:
        if not found.has_default:
            raise BadSettings(
                "FASTFLOW_ALLOWED_INDEXES is set, and this runner uses the index that uv knows by itself: set "
                "UV_DEFAULT_INDEX to the address of an allowed index."
            )
        strange = [index for index in found.addresses if not is_allowed(index, allowed)]
        if strange:
            raise BadSettings(
                f"FASTFLOW_ALLOWED_INDEXES does not allow {', '.join(strange)}, which this runner uses for every "
                f"pipeline; add it, or set UV_DEFAULT_INDEX to an allowed index."
            )
    return Supply(allowed, requires_hashes=settings.require_hashes, builds=not settings.no_build)


def blank_spec(settings: RunnerSettings, place: Place) -> SandboxSpec:
    return SandboxSpec(
        name="",
        image=place.image,
        mounts=place.readable,
        network=settings.network if settings.network_max == "internet" else "none",
        processes_max=settings.processes_max,
        tmp_bytes=settings.tmp_bytes,
        work_bytes=settings.work_bytes,
        files_max=settings.files_max,
    )
