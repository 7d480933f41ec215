"""The search for pipelines, the same for the API and the pages. Pure."""

from __future__ import annotations

from collections.abc import Collection

from fastflow_api import shapes


def searched_text(pipeline: shapes.Pipeline) -> str:
    """The text that a search looks at: name, description and tags, in lower case."""
    return " ".join((pipeline.name, pipeline.description or "", *pipeline.tags)).lower()


def matches(pipeline: shapes.Pipeline, *, q: str, tags: Collection[str]) -> bool:
    """Whether a search finds *pipeline*.

    Args:
        pipeline: The pipeline.
        q: Words; each must be in its name, description or tags.
        tags: It must have one of them, if there are any.
    """
    text = searched_text(pipeline)
    is_tagged = not tags or not set(pipeline.tags).isdisjoint(tags)
    return is_tagged and all(word in text for word in q.lower().split())
