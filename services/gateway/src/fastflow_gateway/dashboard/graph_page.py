"""The page that shows which pipeline starts which."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.pipelines.links import CHAIN_RUNS_MAX, HOPS_MAX
from fastflow_gateway.dashboard.rendering import RENDERER
from fastflow_gateway.dashboard.view import graph_drawing
from fastflow_gateway.http.route import Route
from fastflow_gateway.readmodel import queries
from fastflow_gateway.readmodel.model import MODEL


async def graph_page(request: web.Request) -> web.Response:
    graph = queries.whole_graph(request.app[MODEL])
    linked = {name for edge in graph.edges for name in (edge.upstream, edge.downstream)}
    return request.app[RENDERER].page(
        request,
        "graph.html",
        here="graph",
        live="/live",
        graph=graph,
        drawing=graph_drawing.drawing(graph),
        alone=[node.name for node in graph.nodes if node.name not in linked],
        existing={node.name for node in graph.nodes if node.exists},
        hops_max=HOPS_MAX,
        chain_runs_max=CHAIN_RUNS_MAX,
    )


ROUTES = (Route("GET", "/graph", graph_page),)
