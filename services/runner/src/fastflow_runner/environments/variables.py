"""Which variables of the runner's environment a preparer gets: those that lead to packages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastflow_runner.environments.store import Place

_PASSED_ON: Final = frozenset(
    (
        *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY", "UV_FIND_LINKS"),
        "UV_NO_INDEX",
        *("UV_OFFLINE", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_EXCLUDE_NEWER", "UV_PRERELEASE"),
        *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS"),
        *("UV_PYTHON_INSTALL_MIRROR", "UV_PYTHON_DOWNLOADS", "UV_PYTHON_DOWNLOADS_JSON_URL"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    )
)
_PASSED_ON_PREFIX: Final = "UV_INDEX_"  # a named index' user and password
_PASSED_ON_HOST: Final = frozenset(("SSL_CERT_FILE", "SSL_CERT_DIR"))  # paths of this host


def passed_on(environ: Mapping[str, str], place: Place) -> dict[str, str]:
    """The settings of the runner's own environment that preparers get: indexes, proxies, certificates."""
    names = _PASSED_ON | _PASSED_ON_HOST if place.on_host else _PASSED_ON
    return {name: value for name, value in environ.items() if name in names or name.startswith(_PASSED_ON_PREFIX)}
