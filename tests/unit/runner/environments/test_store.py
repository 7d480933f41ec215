"""Which environments are the same, what a bundle requires, and what a preparer receives."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder.bundle import File, pack
from fastflow_runner.environments.store import (
    EnvironmentRequest,
    docker_place,
    environment_key,
    fallback,
    interpreter,
    process_place,
    requests_of,
)
from fastflow_runner.guest.prepare import layout, plain
from tests.support.folders import write

DOCKER = docker_place(
    image="fastflow-worker:1", base_image="debian", volume="store", network="none", architecture="x86_64"
)
requests = st.builds(EnvironmentRequest, st.sampled_from(["3.11", "3.12", "3.12.4"]), st.binary(max_size=3))


@given(requests, requests)
def test_one_key_is_one_environment(left: EnvironmentRequest, right: EnvironmentRequest) -> None:
    """Two requests share a key exactly if they require the same."""
    assert (environment_key(left, DOCKER) == environment_key(right, DOCKER)) == (left == right)


@given(requests)
def test_another_platform_is_another_environment(request: EnvironmentRequest) -> None:
    """An environment for one base image or processor is not used for another; the name of the worker image does not
    matter.
    """
    elsewhere = msgspec.structs.replace(DOCKER, platform="docker aarch64 debian")
    newer = msgspec.structs.replace(DOCKER, image="fastflow-worker:2")
    key = environment_key(request, DOCKER)
    assert key is None or key != environment_key(request, elsewhere)
    assert key == environment_key(request, newer)


def test_the_images_own_interpreter_needs_no_environment(tmp_path: Path) -> None:
    """Its version and no packages cost nothing in a container; in the process sandbox it is the runner's own."""
    for version, packages, is_free in (("3.11", b"", True), ("", b"", True), ("3.11", b"rich", False)):
        second = fallback(EnvironmentRequest(version, packages), DOCKER)
        assert second is not None
        assert (environment_key(second, DOCKER) is None) == is_free
    assert fallback(EnvironmentRequest("3.11.2"), DOCKER) is None
    place = process_place(tmp_path)
    assert environment_key(EnvironmentRequest(place.own_version), place) is not None
    assert fallback(EnvironmentRequest(place.own_version), place) is None


def test_uv_is_told_a_version_or_the_sandboxs_own_interpreter() -> None:
    """As processes, the sandbox's own version means its own interpreter; in Docker that is old, and comes second."""
    assert interpreter(EnvironmentRequest("3.11"), DOCKER) == "3.11" == interpreter(EnvironmentRequest(""), DOCKER)
    assert interpreter(EnvironmentRequest("3.11", is_ours=True), DOCKER) == "/usr/bin/python3"
    assert interpreter(EnvironmentRequest("3.12.4"), DOCKER) == "3.12.4"
    place = process_place(Path("/store"))
    assert interpreter(EnvironmentRequest(place.own_version), place) == place.own_python


@pytest.mark.parametrize(
    ("asked", "told"),
    [(">=3.9", "3.11"), (">=3.12", ">=3.12"), (">=3.11.4", "==3.11.*,>=3.11.4"), ("==3.11.*", "3.11"), ("<3", "<3")],
)
def test_a_range_is_met_by_the_default_if_it_can_be(asked: str, told: str) -> None:
    """Else uv chooses; and where a patch release counts, uv looks at the releases that are there."""
    assert interpreter(EnvironmentRequest(asked), DOCKER) == told


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, b""),
        ({"requirements.txt": b"rich\n"}, b"rich\n"),
        ({"requirements.txt": b"rich\n", "requirements.txt.lock": b"rich==1\n"}, b"rich==1\n"),
        ({"requirements.txt": b"-r base.txt\n", "base.txt": b"rich\n"}, b"-r base.txt\n"),
        ({"requirements.txt": b"\n  # nothing yet\n"}, b""),
        ({"sub/requirements.txt": b"rich\n"}, b""),
    ],
)
def test_a_bundle_requires_its_lock_or_its_requirements(files: dict[str, bytes], expected: bytes) -> None:
    """The lock beside the requirements wins; a file without packages requires nothing."""
    bundle = pack({path: File(data, False) for path, data in {"main.py": b"", **files}.items()})
    (request,) = requests_of("3.12", bundle.data)
    assert (request.python_version, request.requirements, request.extras) == ("3.12", expected, ())
    assert request.is_empty == (not expected)
    assert [path for path, _ in request.beside] == [path for path in files if path == "base.txt"]


BLOCK = b"# /// script\n# dependencies = ['rich>=13', 'six']\n# ///\nimport rich\n"


@pytest.mark.parametrize("file", [b"", b"iniconfig==2\n"])
def test_a_script_may_name_packages_itself(file: bytes) -> None:
    """In addition to those of the requirements file; a block without packages changes no key."""
    block, none, empty = (
        requests_of("3.12", pack({"main.py": File(script), "requirements.txt": File(file)}).data)[0]
        for script in (BLOCK, b"import rich\n", b"# /// script\n# dependencies = []\n# ///\n")
    )
    assert (block.requirements, block.extras) == (file, ("rich>=13", "six"))
    assert none == empty == EnvironmentRequest("3.12", file)
    assert environment_key(block, DOCKER) != environment_key(none, DOCKER) == environment_key(empty, DOCKER)


def test_existing_environments_stay_valid() -> None:
    """Requests without a block keep their keys."""
    assert environment_key(EnvironmentRequest("3.12", b"rich\n"), DOCKER) == "58c2866af110caeccfb1ae7516152747"


def test_a_notebook_has_no_block_of_its_own() -> None:
    """A script beside it does not run."""
    files = {"main.ipynb": File(b""), "main.py": File(BLOCK)}
    request, _ = requests_of("3.12", pack(files).data, "notebook")
    assert request.extras == ("ipykernel>=6",)


@pytest.mark.parametrize(
    "requirements",
    [
        "rich\n",
        "-r more.txt\n-c sub/limits.txt\n--require-hashes\n--requirement=more.txt",
        "# -e ./local\nrich>=13,<14 ; python_version > '3'  # or -e\n",
        "--index-url https://index/simple\n-i https://other\n--find-links=/links\nrich",
        "rich==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n",
        "rich @ https://host/rich-1-py3-none-any.whl\n--only-binary :all:",
    ],
)
def test_packages_from_indexes_are_plain(requirements: str) -> None:
    """They are installed by way of the shared cache."""
    assert plain.is_plain(requirements)


@pytest.mark.parametrize(
    "requirements",
    [
        "-e ./local",
        "  --editable=./local",
        "-e./local",
        "rich\n# a comment \\\n-e ./local",
        "rich \\\n-e ./local",
        "rich -e ./local",
        "rich\r-e ./local",
        "rich\x0b-e ./local",
        "-r \\\nmore.txt",
        "-r ${MORE}",
        "-c https://host/constraints.txt",
        "rich @ git+https://host/repository",
        "--no-binary :all:",
        "-\u200be ./local",
        "-e ./local".encode("utf-16-le").decode(),
    ],
)
def test_what_may_run_foreign_code_is_left_to_a_build(requirements: str) -> None:
    """Editable installs, included files, repositories, options that are not known to be harmless."""
    assert not plain.is_plain(requirements)


FOLDERS: dict[str, tuple[dict[str, str], bool]] = {
    "included files": ({"requirements.txt": "-r sub/a.txt", "sub/a.txt": "rich\n-c ../b.txt", "b.txt": "rich<9"}, True),
    "an editable in one": ({"requirements.txt": "-r sub/a.txt", "sub/a.txt": "-r b.txt", "sub/b.txt": "-e ."}, False),
    "a circle": ({"requirements.txt": "-r requirements.txt"}, True),
    "a project": ({"pyproject.toml": "[project]\nname = 'a'\nversion = '1'\ndependencies = ['rich']"}, True),
    "a package": ({"pyproject.toml": "[project]\nname = 'a'\n[build-system]\nrequires = []"}, False),
    "settings of uv": ({"pyproject.toml": "[project]\nname = 'a'\n[tool.uv]\nindex-url = 'https://host'"}, False),
    "settings of others": ({"pyproject.toml": "[tool.ruff]\nline-length = 1", "requirements.txt": "rich"}, True),
    "a file of settings": ({"uv.toml": "", "requirements.txt": "rich"}, False),
    "a repository": ({"pyproject.toml": "[project]\nname = 'a'\ndependencies = ['a @ git+https://host/a']"}, False),
    "no TOML": ({"pyproject.toml": "["}, False),
    "a lock": ({"pyproject.toml": "", "uv.lock": "[[package]]\nname = 'a'\nsource = { virtual = '.' }"}, True),
    "a lock of a folder": ({"pyproject.toml": "", "uv.lock": "[[package]]\nsource = { editable = 'evil' }"}, False),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_plain_if_all_that_uv_reads_in_it_is(tmp_path: Path, name: str) -> None:
    """Included requirements, the project, its lock, and uv's settings."""
    files, expected = FOLDERS[name]
    write(files, tmp_path)
    requirements = "requirements.txt" if "requirements.txt" in files else ""
    is_project = "[project]" in files.get("pyproject.toml", "") or "uv.lock" in files
    assert plain.is_plain_folder(str(tmp_path), requirements, "", project=is_project) == expected


def test_a_tree_of_another_user_is_not_linked(tmp_path: Path) -> None:
    """Neither a tree of another owner nor a link in its place becomes an environment."""
    store = layout.Store(str(tmp_path))
    store.lay_out()
    (tmp_path / "trees/abc").mkdir()
    (tmp_path / "trees/link").symlink_to(tmp_path / "trees/abc")
    owner = (tmp_path / "trees/abc").stat().st_uid
    store.check("abc", owner)
    for tree, expected in (("abc", owner + 1), ("link", owner)):
        with pytest.raises(SystemExit, match="does not belong to its builder"):
            store.check(tree, expected)


@pytest.mark.parametrize("name", ["", "..", "a/b", ".staging"])
def test_names_are_not_paths(tmp_path: Path, name: str) -> None:
    """A key or a tree that is not a plain name is refused."""
    store = layout.Store(str(tmp_path))
    for refuse in (store.tree, store.env):
        with pytest.raises(SystemExit, match="is no"):
            refuse(name)


@pytest.mark.parametrize(
    ("requirements", "added"),
    [
        (b"", ("ipykernel>=6",)),
        (b"pandas\n# ipykernel\nnbclient\n", ("ipykernel>=6",)),
        (b"pandas==2\nIPyKernel==6.29 ; python_version > '3'\n", ()),
    ],
)
def test_a_notebook_gets_a_kernel_unless_it_names_one(requirements: bytes, added: tuple[str, ...]) -> None:
    """What the pipeline names wins; a notebook's environment differs from a script's."""
    bundle = pack({"main.ipynb": File(b""), "requirements.txt": File(requirements)})
    request, _ = requests_of("3.12", bundle.data, "notebook")
    assert request.extras == added
    assert request.requirements == requirements
    place = process_place(Path("/store"))
    (script,) = requests_of("3.12", bundle.data)
    assert (environment_key(request, place) == environment_key(script, place)) == (not added)


def test_no_pipeline_changes_the_cell_runners_environment() -> None:
    """It is the sandbox's own interpreter with packages pinned by hash, none of them built."""
    bundle = pack({"main.ipynb": File(b""), "requirements.txt": File(b"nbclient==0.5\n")})
    _, request = requests_of("3.9", bundle.data, "notebook")
    for place in (DOCKER, process_place(Path("/store"))):
        assert interpreter(request, place) == place.own_python
    assert b"--only-binary :all:" in request.requirements
    assert b"\nnbclient==" in request.requirements
