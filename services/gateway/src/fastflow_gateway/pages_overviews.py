"""Pages that look at all pipelines from one side: which starts which, and what starts when. I/O: requests in, pages
and redirects out.
"""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.links import HOPS_MAX
from fastflow_gateway import keys, pages_graph
from fastflow_gateway.pages_render import RENDERER
from fastflow_gateway.routes_links import whole_graph


def setup(app: web.Application) -> None:
    """Add the pages."""
    app.router.add_get("/graph", graph_page)


async def graph_page(request: web.Request) -> web.Response:
    graph = whole_graph(request.app[keys.MODEL])
    linked = {name for edge in graph.edges for name in (edge.upstream, edge.downstream)}
    return request.app[RENDERER].page(
        request,
        "graph.html",
        here="graph",
        live="/live",
        graph=graph,
        drawing=pages_graph.drawing(graph),
        alone=[node.name for node in graph.nodes if node.name not in linked],
        existing={node.name for node in graph.nodes if node.exists},
        hops_max=HOPS_MAX,
    )
