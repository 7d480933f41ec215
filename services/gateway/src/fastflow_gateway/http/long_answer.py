"""A long text that is sent while it is read, so that it is never in memory as a whole. I/O."""

from __future__ import annotations

from aiohttp import web

from fastflow_gateway.http.compression import VARY, packer_for
from fastflow_gateway.http.sse import write


class LongAnswer:
    """An answer that begins with its first part: until then an error can still set the status.

    ``send`` and ``end`` raise ``ConnectionError`` if the client is gone, does not read, or its session has ended.
    """

    def __init__(self, request: web.Request, content_type: str) -> None:
        self._request = request
        self._packer = packer_for(request)
        self.response = web.StreamResponse(headers={"Content-Type": content_type, "Vary": VARY})
        if self._packer is not None:
            self.response.headers["Content-Encoding"] = "gzip"

    async def send(self, part: bytes) -> None:
        """Send a part; may be empty."""
        if not self.response.prepared:
            await self.response.prepare(self._request)
        if part:
            await write(self._request, self.response, self._packer.pack(part) if self._packer else part)

    async def end(self) -> None:
        """End the answer."""
        await self.send(b"")
        await self.response.write_eof(self._packer.end() if self._packer else b"")
