"""Which variables of the runner's environment a preparer gets."""

from __future__ import annotations

from pathlib import Path

from fastflow_runner.environments.store import docker_place, process_place
from fastflow_runner.environments.variables import passed_on

DOCKER = docker_place(
    image="fastflow-worker:1", base_image="debian", volume="store", network="none", architecture="x86_64"
)


def test_index_settings_are_passed_on_and_nothing_else() -> None:
    """Preparers get indexes and proxies, not the runner's secrets; host paths stay on the host."""
    environ = {
        "UV_INDEX_URL": "https://index",
        "UV_INDEX_OURS_PASSWORD": "p",
        "HTTPS_PROXY": "http://proxy",
        "SSL_CERT_FILE": "/here.pem",
        "UV_CACHE_DIR": "/elsewhere",
        "ENCRYPTION_KEY": "k",
        "HOME": "/root",
    }
    assert sorted(passed_on(environ, DOCKER)) == ["HTTPS_PROXY", "UV_INDEX_OURS_PASSWORD", "UV_INDEX_URL"]
    assert "SSL_CERT_FILE" in passed_on(environ, process_place(Path("/x")))
