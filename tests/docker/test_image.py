"""The worker image against a real Docker daemon."""

import pytest
from aiodocker import Docker

from fastflow_runner.sandbox.docker import image

pytestmark = pytest.mark.docker


@pytest.mark.promise("one command")
async def test_the_image_is_built_once_and_found_again(docker: Docker) -> None:
    """The first call builds the image; the second call finds it and prints nothing."""
    first = await image.ensure_worker_image(docker, progress=lambda line: None)
    lines: list[str] = []

    assert await image.ensure_worker_image(docker, progress=lines.append) == first
    assert lines == []
    made = await docker.images.inspect(first)
    assert made["Config"]["User"] == "65532:65532"
    assert made["Config"]["Entrypoint"] == ["/usr/bin/python3", "-I", "-S", "/opt/fastflow/supervisor"]


async def test_a_failed_build_ends_with_the_daemons_last_lines(docker: Docker) -> None:
    """A base image that does not exist fails the build, and the error contains the daemon's message."""
    with pytest.raises(image.ImageFailed, match=r"FROM(.|\n)*(no such host|not found|denied|does not exist)"):
        await image.ensure_worker_image(docker, progress=lambda line: None, base_image="no-such-image:none")
