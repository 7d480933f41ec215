"""What a route is, and what handlers share: reading a request, answering, refusing. No route lives here.

Routes are data: the application adds them, the OpenAPI document is made of them, and neither knows a route by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from fastflow_contracts.bus.subjects import parse_job_id
from fastflow_contracts.clock import now
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import BadRunId, check_run_id
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_gateway.errors import RequestRefused, no_pipeline
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import KnownRun
from fastflow_gateway.security.client_address import CLIENT_ADDRESSES
from fastflow_gateway.views import jobs

Q = TypeVar("Q", bound=msgspec.Struct)
T = TypeVar("T")

BODY_S: Final = 60.0
"""How long a body may take to arrive."""
LEFT: Final = 499
"""What other servers count, too, when a client leaves before it has said everything. Nobody reads that answer."""


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """*value*, a shape, as JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def query(request: web.Request, wanted: type[Q]) -> Q:
    """The query parameters; an empty one counts as not given. Raises ``RequestRefused`` for unknown and unusable ones."""
    given = {name: value for name, value in request.query.items() if value}
    try:
        return msgspec.convert(given, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise RequestRefused(422, f"the query cannot be used: {error}{_accepted(wanted, str(error))}") from error


def _accepted(wanted: type[msgspec.Struct], error: str) -> str:
    """What the parameter that *error* names takes, if that is a choice; else which parameters there are."""
    for field in msgspec.inspect.type_info(wanted).fields:  # type: ignore[attr-defined]
        if f"`$.{field.encode_name}`" in error:
            plain = field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type
            kinds = plain.types if isinstance(plain, msgspec.inspect.UnionType) else (plain,)
            for kind in kinds:
                if isinstance(kind, msgspec.inspect.LiteralType):
                    return f"; it is one of {', '.join(map(str, kind.values))}"
                if isinstance(kind, msgspec.inspect.EnumType):
                    return f"; it is one of {', '.join(kind.cls)}"
            return ""
    return f"; there are {', '.join(wanted.__struct_encode_fields__)}" if "unknown field" in error else ""


async def body_of(request: web.Request) -> bytes:
    """All of the body, unpacked. Raises ``RequestRefused``, also when it does not come."""
    return await _arrived(request.read())


async def form_of(request: web.Request) -> list[tuple[str, str]]:
    """The text fields of a form, in order. Raises ``RequestRefused``, also when they do not come."""
    try:
        fields = await _arrived(request.post())
    except (ValueError, LookupError, RuntimeError) as error:  # whatever a part, a charset or a boundary has wrong
        raise RequestRefused(400, f"the form cannot be read: {str(error).rstrip('.')}.") from error
    return [(name, value) for name, value in fields.items() if isinstance(value, str)]


async def _arrived(reading: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(BODY_S):
            return await reading
    except TimeoutError as error:
        detail = f"the body did not arrive within {BODY_S:g} s; send it again."
        raise RequestRefused(408, detail, headers={"Connection": "close"}) from error
    except ConnectionError as error:
        raise RequestRefused(LEFT, "the client left before its body was whole.") from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise RequestRefused(
            400, "the body is not encoded as its headers say; see its Content-Encoding and Transfer-Encoding."
        ) from error


def caller_of(request: web.Request) -> str:
    """Who asks, for those who count what a caller does."""
    return request.app[CLIENT_ADDRESSES].of(request.remote, request.headers.getall("X-Forwarded-For", ()))


def pipeline_name(request: web.Request) -> PipelineName:
    """The ``{name}`` of the path. Raises ``RequestRefused``: what cannot be a name has no pipeline."""
    try:
        return check_name(request.match_info["name"])
    except BadName:
        raise no_pipeline(request.match_info["name"]) from None


async def pipeline_record(request: web.Request) -> PipelineRecord:
    """The pipeline that the path names. Raises ``RequestRefused``."""
    name = pipeline_name(request)
    record = await request.app[MODEL].pipeline(name)
    if record is None:
        raise no_pipeline(name)
    return record


async def known_run(request: web.Request) -> KnownRun:
    """The run whose id the path names. Raises ``RequestRefused``."""
    try:
        known = await request.app[MODEL].run(check_run_id(request.match_info["id"]))
    except BadRunId as error:
        raise RequestRefused(404, str(error)) from error
    if known is None:
        raise RequestRefused(
            404, f"there is no run {request.match_info['id']}; GET /api/runs lists the runs there are."
        )
    return known


async def known_job(request: web.Request) -> jobs.KnownJob:
    """The job that the path names. Raises ``RequestRefused``."""
    model = request.app[MODEL]
    try:
        wanted = parse_job_id(request.match_info["job"])
        record = await model.pipeline(check_name(wanted.pipeline))
    except FastFlowError:
        record = None
    jobs_of_it = jobs.known_jobs([record] if record else [], model.schedule_states, model.switches.off)
    for known in jobs.listed(jobs_of_it, now()):
        if known.job == wanted:
            return known
    raise RequestRefused(
        404, f"there is no job {request.match_info['job'][:200]!r}; GET /api/scheduler/jobs lists them."
    )
