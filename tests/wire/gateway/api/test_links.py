"""Downstream triggers and their graph through the API, on a real bus."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import DownstreamRule, ScheduleEntry
from fastflow_contracts.pipelines.links import LINK_SET
from fastflow_contracts.pipelines.records import PIPELINE
from tests.support.gateway import Client, claim, finish, running_gateway, running_scheduler, store
from tests.support.records import a_bundle, a_run, publish_pipeline

PATH = "/api/pipelines/a/downstream-triggers"


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway that knows ``a``, which starts ``b`` by its metadata, and ``b`` with a configuration ``full``."""
    code = a_bundle(main_py="")
    await publish_pipeline(bus, "a", code, downstream_triggers=(DownstreamRule(pipeline="b"),))
    await publish_pipeline(bus, "b", code, schedules=(ScheduleEntry(id="full"),))
    async with running_gateway(bus) as one:
        yield one


async def made(client: Client, **body: Any) -> Any:
    """Create this link of ``a`` and return the response."""
    answer = await client.post(PATH, json=body)
    assert answer.status in (200, 201), answer.text
    return answer.json


async def test_links_of_metadata_and_api_are_listed_with_their_source(client: Client) -> None:
    """Each target once. A target of both starts if either says so."""
    assert await made(client, pipeline="b", run_config_id="full") == {
        "id": "b=2Ffull",
        "pipeline": "b",
        "on_success": True,
        "on_failure": False,
        "run_config_id": "full",
        "on_route": None,
        "needs_artifacts": False,
        "source": "api",
    }
    both = await made(client, pipeline="b", on_success=False, on_failure=True)
    assert (both["source"], both["on_success"], both["on_failure"]) == ("both", True, True)
    listed = (await client.get(PATH)).json
    assert [(each["id"], each["source"]) for each in listed] == [("b", "both"), ("b=2Ffull", "api")]
    assert (await client.get("/api/pipelines/nobody/downstream-triggers")).status == 404


async def test_the_same_target_again_changes_when_it_is_started(client: Client) -> None:
    """201 the first time, 200 from then on, and never two of them."""
    first = await client.post(PATH, json={"pipeline": "a"})
    again = await client.post(PATH, json={"pipeline": "a", "on_failure": True})
    assert (first.status, again.status, again.json["on_failure"]) == (201, 200, True)
    assert len((await client.get(PATH)).json) == 2


async def test_a_trigger_that_needs_artifacts_says_so(client: Client) -> None:
    """Where it is made, listed and shown; a trigger made again can take it back."""
    assert (await made(client, pipeline="a", needs_artifacts=True))["needs_artifacts"] is True
    assert [each["needs_artifacts"] for each in (await client.get(PATH)).json if each["pipeline"] == "a"] == [True]
    assert (await made(client, pipeline="a"))["needs_artifacts"] is False
    refused = await client.post(PATH, json={"pipeline": "a", "needs_artifacts": "yes"})
    assert refused.status == 422


async def test_one_target_can_have_a_trigger_for_each_route(client: Client) -> None:
    """Each is made, listed and removed for itself; an empty route is none."""
    await made(client, pipeline="b", on_route="a.b/ä ?")
    await made(client, pipeline="b", on_route="no", on_failure=True)
    await made(client, pipeline="b", on_route="")
    listed = {each["on_route"]: each for each in (await client.get(PATH)).json}
    assert {route: each["source"] for route, each in listed.items()} == {None: "both", "a.b/ä ?": "api", "no": "api"}
    left = await client.ask("DELETE", f"{PATH}/{listed['a.b/ä ?']['id']}")
    assert [each["on_route"] for each in left.json] == [None, "no"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "pipeline"),
        ({"pipeline": "no name"}, "rename"),
        ({"pipeline": "nobody"}, "there is no pipeline nobody"),
        ({"pipeline": "b", "run_config_id": "half"}, "'full'"),
        ({"pipeline": "b", "on_success": False}, "both false"),
        ({"pipeline": "b", "on_failure": "yes"}, "on_failure"),
        ({"pipeline": "b", "on_route": " x"}, "on_route"),
        ({"pipeline": "b", "on_route": "two\nlines"}, "on_route"),
        ({"pipeline": "b", "on_route": "x" * 129}, "on_route"),
        ({"pipeline": "b", "onfailure": True}, "onfailure"),
        ([], "JSON"),
    ],
)
async def test_a_link_that_could_start_nothing_is_refused(client: Client, body: Any, says: str) -> None:
    """422 with the field and the possible values."""
    answer = await client.post(PATH, json=body)
    assert answer.status == 422
    assert says in answer.json["detail"]
    assert len((await client.get(PATH)).json) == 1


async def test_only_links_of_the_api_can_be_removed(client: Client) -> None:
    """The metadata's own stay, and the error says where to edit them."""
    await made(client, pipeline="b", on_failure=True)
    await made(client, pipeline="b", run_config_id="full")
    left = await client.ask("DELETE", f"{PATH}/b=2Ffull")
    assert (left.status, [each["id"] for each in left.json]) == (200, ["b"])
    left = await client.ask("DELETE", f"{PATH}/b")
    assert [(each["source"], each["on_failure"]) for each in left.json] == [("json", False)]
    refused = await client.ask("DELETE", f"{PATH}/b")
    assert refused.status == 409
    assert '"downstream_triggers" in the pipeline.json of a' in refused.json["detail"]
    assert (await client.ask("DELETE", f"{PATH}/c")).status == 404


async def test_links_that_two_gateways_make_at_once_are_all_kept(bus: Bus, client: Client) -> None:
    """None replaces another; schedulers read the same set."""
    code = a_bundle(main_py="")
    names = [f"t{n}" for n in range(8)]
    for name in names:
        await publish_pipeline(bus, name, code)
    async with running_gateway(bus) as other:
        gateways = [client, other] * 4
        posts = (each.post(PATH, json={"pipeline": name}) for each, name in zip(gateways, names, strict=True))
        assert {answer.status for answer in await asyncio.gather(*posts)} == {201}
    entry = await bus.get(subjects.LINKS, subjects.links_key(PipelineName("a")))
    assert entry is not None
    assert {link.pipeline for link in LINK_SET.decode(entry.value).links} == set(names)


async def test_the_graph_has_missing_targets_and_cycles(bus: Bus, client: Client) -> None:
    """Nodes by name, edges with all their fields, one cycle for each group."""
    code = a_bundle(main_py="")
    await publish_pipeline(bus, "c", code, downstream_triggers=(DownstreamRule(pipeline="gone"),))
    async with running_gateway(bus) as fresh:
        await fresh.post("/api/pipelines/b/downstream-triggers", json={"pipeline": "a", "on_failure": True})
        graph = (await fresh.get("/api/pipelines/graph")).json
    assert [(node["name"], node["exists"]) for node in graph["nodes"]] == [
        ("a", True),
        ("b", True),
        ("c", True),
        ("gone", False),
    ]
    assert graph["cycles"] == [["a", "b"]]
    edges = {(edge["upstream"], edge["downstream"]): edge for edge in graph["edges"]}
    assert edges["b", "a"] == {
        "id": "a",
        "upstream": "b",
        "downstream": "a",
        "on_success": True,
        "on_failure": True,
        "run_config_id": None,
        "on_route": None,
        "needs_artifacts": False,
        "source": "api",
        "in_cycle": True,
        "problem": None,
    }
    assert (edges["c", "gone"]["problem"], edges["c", "gone"]["in_cycle"]) == ("There is no pipeline gone.", False)


async def test_a_link_of_the_api_starts_runs_until_it_is_removed(bus: Bus, client: Client) -> None:
    """The schedulers follow it; the child names its parent and its configuration."""
    code = a_bundle(main_py="")
    await publish_pipeline(bus, "c", code)
    await client.post("/api/pipelines/c/downstream-triggers", json={"pipeline": "b", "run_config_id": "full"})
    async with running_scheduler(bus):
        await finish(bus, await claim(bus, parent := await store(bus, a_run("c"))))
        async with asyncio.timeout(10):
            while not (children := (await client.get("/api/runs?pipeline_name=b")).json["runs"]):
                await asyncio.sleep(0.02)
        assert (children[0]["parent_run_id"], children[0]["run_config_id"]) == (parent.id, "full")
        await client.ask("DELETE", "/api/pipelines/c/downstream-triggers/b=2Ffull")
        await finish(bus, await claim(bus, await store(bus, a_run("c"))))
        await finish(bus, await claim(bus, await store(bus, a_run("a"))))  # which starts b by its metadata
        async with asyncio.timeout(10):
            while len(children) == 1:
                children = (await client.get("/api/runs?pipeline_name=b")).json["runs"]
        assert {child["run_config_id"] for child in children} == {"full", None}


async def test_a_skipped_followup_is_shown_with_the_run_and_with_its_target(bus: Bus) -> None:
    """In the API and on the pages: missing, disabled, without a good version, without that configuration, full."""
    code = a_bundle(main_py="")
    reasons = {
        "missing": "there is no pipeline missing",
        "off": "off is disabled",
        "broken": "broken has no valid version",
        "plain": "there is no run configuration &#39;half&#39;",
        "full": "max_instances: 1 run(s) of full are pending or running already",
    }
    targets = tuple(DownstreamRule(pipeline=name) for name in reasons if name != "plain")
    half = DownstreamRule(pipeline="plain", run_config_id="half")
    await publish_pipeline(bus, "parent", code, downstream_triggers=(*targets, half))
    await publish_pipeline(bus, "off", code, enabled=False)
    broken = await publish_pipeline(bus, "broken", code)
    value = PIPELINE.encode(replace(broken, live=None))
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(broken.name), value)
    await publish_pipeline(bus, "plain", code)
    await publish_pipeline(bus, "full", code, max_instances=1)
    await store(bus, a_run("full"))
    parent = await store(bus, a_run("parent", bundle=code.sha256))
    async with running_gateway(bus) as client, running_scheduler(bus):
        assert (await client.get(f"/api/runs/{parent.id}")).json["skipped"] == []
        await finish(bus, await claim(bus, parent))
        async with asyncio.timeout(10):
            while len(skipped := (await client.get(f"/api/runs/{parent.id}")).json["skipped"]) < len(reasons):
                await asyncio.sleep(0.02)
        page = (await client.get(f"/runs/{parent.id}")).text
        told = {skip["pipeline_name"]: skip for skip in skipped}
        assert told.keys() == reasons.keys()
        for name, reason in reasons.items():
            assert told[name]["reason"].startswith(html.unescape(reason))
            assert (told[name]["triggered_by"], told[name]["parent_run_id"]) == ("downstream", parent.id)
            assert reason in page
            if name != "missing":
                assert (await client.get(f"/api/pipelines/{name}")).json["skipped"] == [told[name]]
                assert reason in (await client.get(f"/pipelines/{name}")).text


async def test_the_openapi_document_lists_the_links(client: Client) -> None:
    """Every method, with its shapes."""
    document = (await client.get("/api/openapi.json")).json
    assert {"get", "post"} <= document["paths"]["/api/pipelines/{name}/downstream-triggers"].keys()
    assert "delete" in document["paths"]["/api/pipelines/{name}/downstream-triggers/{link}"]
    assert {"DownstreamTrigger", "Graph", "LinkBody"} <= document["components"]["schemas"].keys()
