"""The name of the worker image."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_runner.sandbox.docker.image import ImageFailed, worker_context, worker_reference

contexts = st.dictionaries(st.text("abc.", min_size=1, max_size=3), st.binary(max_size=8), max_size=3)


@given(contexts, contexts)
def test_equal_contents_have_one_name(left: dict[str, bytes], right: dict[str, bytes]) -> None:
    """Two contexts share a reference exactly if they hold the same files."""
    assert (worker_reference(left, {}) == worker_reference(right, {})) == (left == right)


def test_the_base_image_is_part_of_the_name() -> None:
    """Another base image gives another name."""
    assert worker_reference({}, {"WORKER_BASE_IMAGE": "a"}) != worker_reference({}, {"WORKER_BASE_IMAGE": "b"})


def test_the_context_is_the_deployed_dockerfile() -> None:
    """It is the file in deploy/compose, not a copy."""
    deployed = Path(__file__).parents[5] / "deploy/compose/worker.Dockerfile"
    assert worker_context(None)["Dockerfile"] == deployed.read_bytes()


def test_a_missing_ca_bundle_is_named_with_its_setting(tmp_path: Path) -> None:
    """A path that does not exist is refused before the build."""
    with pytest.raises(ImageFailed, match="FASTFLOW_CA_BUNDLE"):
        worker_context(tmp_path / "none.pem")
