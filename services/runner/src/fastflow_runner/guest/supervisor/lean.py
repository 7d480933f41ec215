"""Parts of the standard library, taken from where its packages have them.

Each sandbox starts a supervisor, and there a package such as ``json`` costs more than all code of ours: it imports
``re``, and that imports ``enum``. Where an interpreter does not have a part by itself, its package is imported.
Standard library only.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections import deque
    from collections.abc import Callable
    from hashlib import sha256
    from types import TracebackType
    from typing import Any

__all__ = ["deque", "dumps", "loads", "sha256", "signal", "suppress"]


def _first(*names: str) -> Any:
    """Return the first of these modules that there is."""
    for name in names[:-1]:
        try:
            return __import__(name)
        except ImportError:
            continue
    return __import__(names[-1])


if not TYPE_CHECKING:
    signal = _first("_signal", "signal")
    deque = _first("_collections", "collections").deque
    sha256 = _first("_sha2", "_sha256", "hashlib").sha256  # the first since Python 3.12


class suppress:  # noqa: N801 - as contextlib names it
    """Go on after an exception of these classes."""

    def __init__(self, *exceptions: type[BaseException]) -> None:
        self._exceptions = exceptions

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return kind is not None and issubclass(kind, self._exceptions)


class _JsonRules:
    """What ``json.loads`` tells the scanner."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = parse_constant = float
    parse_int = int
    memo: dict[str, str] = {}


def _reader() -> Callable[[str | bytes], Any]:
    module = _first("_json", "json")
    if not hasattr(module, "make_scanner"):
        return module.loads  # type: ignore[no-any-return]
    scan = module.make_scanner(_JsonRules)

    def read(text: str | bytes) -> Any:
        """Return the value of a JSON text without space around it. Raises ``ValueError``."""
        text = text.decode() if isinstance(text, bytes) else text
        try:
            value, end = scan(text, 0)
        except StopIteration:
            raise ValueError("it is not JSON") from None
        if end != len(text):
            raise ValueError("more follows the JSON")
        return value

    return read


def _writer() -> Callable[[object], str]:
    module = _first("_json", "json")
    if not hasattr(module, "make_encoder"):
        return lambda value: module.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def refuse(value: object) -> Any:
        raise TypeError(f"{type(value).__name__} has no form in JSON")

    encode = module.make_encoder(None, refuse, module.encode_basestring, None, ":", ",", False, False, True)
    return lambda value: "".join(encode(value, 0))


loads = _reader()
"""``json.loads``."""
dumps = _writer()
"""``json.dumps`` without any space, and without escapes of what is not ASCII."""
