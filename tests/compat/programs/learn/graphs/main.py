"""Paths, components and ranks of graphs."""

import networkx as nx

graph = nx.DiGraph([("a", "b"), ("b", "c"), ("a", "d"), ("d", "c"), ("c", "e")])
print(list(nx.topological_sort(graph)), nx.shortest_path(graph, "a", "e"))
print({node: round(rank, 4) for node, rank in nx.pagerank(graph).items()})
nx.write_gml(graph, "graph.gml")
graph.add_edge("e", "a")
try:
    list(nx.topological_sort(graph))
except nx.NetworkXUnfeasible as error:
    print(error)
