"""Reads the files of a pipeline that people look at from its bundle. I/O.

Bundles never change, so their texts are cached: the ``KEPT_MAX`` last used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from cachetools import LRUCache

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.records import PipelineRecord

log = get_logger(__name__)

KEPT_MAX: Final = 32
TEXT_BYTES_MAX: Final = 256 * 1024
"""Shown of one file; the rest is cut off."""


class BundleFiles:
    """The texts of the last used bundles."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._texts: LRUCache[str, Mapping[str, str]] = LRUCache(KEPT_MAX)

    async def texts(self, record: PipelineRecord) -> Mapping[str, str]:
        """Read main file, requirements and metadata of the live version.

        Returns:
            Texts by file name; empty if there is no live version or its bundle is unreadable.

        Raises:
            Unavailable: The bus did not answer.
        """
        if record.live is None:
            return {}
        name = record.live.bundle
        if (kept := self._texts.get(name)) is not None:
            return kept
        try:
            data = await ObjectStore(self._bus).get(name)
            texts = await asyncio.to_thread(_read, data, record.name)
        except (Rejected, bundle.BundleRefused) as error:
            log.warning("bundle not read", pipeline=record.name, bundle=name, error=str(error))
            return {}
        self._texts[name] = texts
        return texts


def _read(data: bytes, pipeline: str) -> dict[str, str]:
    there = {entry.path for entry in bundle.listing(data)}
    metadata = next((path for path in ("pipeline.json", f"{pipeline}.json") if path in there), None)
    wanted = ("main.py", "main.ipynb", "requirements.txt", "requirements.txt.lock", metadata)
    return {path: _text(bundle.read_file(data, path)) for path in wanted if path in there and path is not None}


def _text(data: bytes) -> str:
    return data[:TEXT_BYTES_MAX].decode("utf-8", "replace")


BUNDLE_FILES = web.AppKey("BUNDLE_FILES", BundleFiles)
