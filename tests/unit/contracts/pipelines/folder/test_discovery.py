"""Which folders are pipelines."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder.discovery import RESERVED_NAMES, Discovered, inspect_folder
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_gateway.app import ROUTES

NOTEBOOK = b'{"type": "notebook"}'
EMPTY_NOTEBOOK = b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}'


SCRIPT = {"main.py": b""}


def found(name: str, files: dict[str, bytes]) -> Discovered:
    """Return what the folder *name* is, which must be a pipeline. Without a main.ipynb it gets a main.py."""
    discovered = inspect_folder(name, files if "main.ipynb" in files else SCRIPT | files)
    assert discovered is not None
    return discovered


def test_a_script_is_enough() -> None:
    """A folder with main.py is a pipeline with defaults."""
    pipeline = found("etl", {})
    assert pipeline == Discovered(name="etl", spec=PipelineSpec())
    assert not pipeline.has_requirements


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("docs", {}),
        ("docs", {"readme.md": b"", "pipeline.json": b"{}"}),
        (".git", {"main.py": b""}),
        ("__pycache__", {"main.py": b""}),
        ("book", {"main.ipynb": b""}),
        ("book", {"main.ipynb": b"", "pipeline.json": b"{}"}),
        ("book", {"main.ipynb": b"", "pipeline.json": b'{"timeout": -1}'}),
        ("book", {"main.ipynb": b"", "pipeline.json": b"{}", "book.json": NOTEBOOK}),
    ],
)
def test_other_folders_are_ignored(name: str, files: dict[str, bytes]) -> None:
    """A folder without main.py, or with a main.ipynb that no metadata call a notebook."""
    assert inspect_folder(name, files) is None


def test_a_notebook_needs_its_type_in_the_metadata() -> None:
    """Then a folder with main.ipynb is a pipeline."""
    pipeline = found("book", {"main.ipynb": EMPTY_NOTEBOOK, "pipeline.json": NOTEBOOK})
    assert pipeline.spec == PipelineSpec(type="notebook")
    assert found("book", {"main.ipynb": EMPTY_NOTEBOOK, "book.json": NOTEBOOK}).metadata_file == "book.json"


@pytest.mark.parametrize("metadata", [b'{"type": "notebook",}', b'{"type": "Notebook"}', b"\xff"])
def test_a_notebook_without_its_type_is_a_problem(metadata: bytes) -> None:
    """The folder is listed with it."""
    pipeline = found("book", {"main.ipynb": b"", "pipeline.json": metadata})
    assert pipeline.spec is None
    assert pipeline.problems


def test_a_notebook_needs_its_file() -> None:
    """Without it the metadata are a problem."""
    pipeline = found("book", {"pipeline.json": NOTEBOOK})
    assert pipeline.spec is None
    assert [str(problem) for problem in pipeline.problems] == [
        'pipeline.json: type is "notebook"; accepted: "script", because there is no main.ipynb; or add that file'
    ]


def test_metadata_may_have_the_name_of_the_folder() -> None:
    """Without pipeline.json, {name}.json is read."""
    pipeline = found("etl", {"etl.json": b'{"timeout": 5}'})
    assert (pipeline.metadata_file, pipeline.spec) == ("etl.json", PipelineSpec(timeout=5))
    assert pipeline.notices == ()


def test_metadata_are_never_merged() -> None:
    """With pipeline.json, {name}.json is not read, and a notice says so."""
    pipeline = found("etl", {"pipeline.json": b"{}", "etl.json": b'{"timeout": -1}'})
    assert (pipeline.metadata_file, pipeline.spec) == ("pipeline.json", PipelineSpec())
    assert [notice.file for notice in pipeline.notices] == ["etl.json"]


def test_metadata_under_another_name_are_noticed() -> None:
    """They are not read; the notice says how to rename the file."""
    pipeline = found("pipeline_b", {"data_processor.json": b'{"timeout": -1, "tags": []}'})
    assert pipeline.spec == PipelineSpec()
    assert [str(notice) for notice in pipeline.notices] == [
        "data_processor.json: It looks like metadata of the pipeline but is not read; rename it to pipeline.json."
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"{",
        b'{"name": "x", "version": 1, "description": "a package"}',
        b'{"enabled": 1, "a": 2}',
    ],
)
def test_other_json_gets_no_notice(content: bytes) -> None:
    """It is most likely data."""
    assert found("etl", {"data.json": content}).notices == ()


@pytest.mark.parametrize("name", ["my pipeline", "größe", "-x", "a" * 65, "graph"])
def test_a_folder_with_an_unusable_name_is_listed_with_the_reason(name: str) -> None:
    """Unsafe or reserved, whatever else is right."""
    pipeline = found(name, {"pipeline.json": b"{}"})
    assert pipeline.spec is None
    assert "rename its folder" in str(pipeline.problems[0])


def test_the_reserved_names_are_those_in_paths_of_the_api() -> None:
    """A new path needs a new reserved name."""
    taken = {route.path.split("/")[3] for route in ROUTES if route.path.startswith("/api/pipelines/")}
    assert taken - {"{name}"} == RESERVED_NAMES


def test_a_pipeline_with_a_bad_value_is_listed() -> None:
    """With its problems."""
    pipeline = found("etl", {"pipeline.json": b'{"timeout": -1}'})
    assert pipeline.spec is None
    assert [problem.field for problem in pipeline.problems] == ["timeout"]


def test_locked_requirements_are_preferred() -> None:
    """To loose ones."""
    assert found("etl", {"requirements.txt": b""}).requirements_file == "requirements.txt"
    both = found("etl", {"requirements.txt": b"", "requirements.txt.lock": b""})
    assert both.requirements_file == "requirements.txt.lock"
    assert both.has_requirements


def script(*lines: str) -> dict[str, bytes]:
    return {"main.py": "\n".join(("# /// script", *lines, "# ///")).encode()}


def notices(files: dict[str, bytes]) -> list[str]:
    pipeline = inspect_folder("etl", files)
    assert pipeline is not None
    return [str(notice) for notice in pipeline.notices]


def test_a_script_whose_block_is_not_usable_is_refused() -> None:
    """``uv run`` refuses it too; a script beside a notebook does not run."""
    bad = script("# dependencies = [")
    pipeline = inspect_folder("etl", bad)
    assert pipeline is not None
    assert pipeline.spec is None
    assert str(pipeline.problems[0]).startswith("main.py:1: The block `# /// script` is not usable: it is not TOML")
    assert found("book", {**bad, "main.ipynb": EMPTY_NOTEBOOK, "pipeline.json": NOTEBOOK}).problems == ()


@pytest.mark.parametrize(
    ("requires", "version", "is_noted"),
    [
        (">=3.12", None, True),
        (">=3.12", "3.11", True),
        (">=3.12,<4", "3.11.9", True),
        (">=3.12", "3.12", False),
        (">=3.9.1", "3.10", False),
        ("==3.12.*", "3.12", False),
    ],
)
def test_a_script_does_not_choose_its_interpreter(requires: str, version: str | None, is_noted: bool) -> None:
    """A notice says so, unless the metadata choose a suitable one."""
    metadata = msgspec.json.encode({"python_version": version})
    said = notices(
        {**script("# dependencies = ['six']", f"# requires-python = '{requires}'"), "pipeline.json": metadata}
    )
    expected = (
        f"main.py:1: requires-python is {requires!r}, but only python_version in pipeline.json chooses the interpreter."
    )
    assert said == [expected] * is_noted


def test_settings_of_uv_in_a_script_are_not_read() -> None:
    """A notice says so; settings of other tools get none."""
    assert notices(script("# [tool.other]")) == []
    said = ["main.py:1: [tool.uv] is not read; indexes can be named in requirements.txt."]
    assert notices(script("# [tool.uv]", "# index-url = 'https://x'")) == said


@pytest.mark.parametrize(
    ("project", "beside", "is_noted"),
    [
        (b"[project]\nname = 'x'\ndependencies = ['six']", {}, True),
        (b"[project]\nname = 'x'\ndependencies = ['six']", {"requirements.txt": b""}, False),
        (b"[project]\nname = 'x'\ndependencies = ['six']", script("# dependencies = []"), False),
        (b"[project]\nname = 'x'\ndependencies = []", {}, False),
        (b"[tool.ruff]\nline-length = 100", {}, False),
        (b"project = 1", {}, False),
        (b"[project", {}, False),
        (b"\xff", {}, False),
    ],
)
def test_dependencies_of_a_project_are_not_installed(project: bytes, beside: dict[str, bytes], is_noted: bool) -> None:
    """A notice says so, with the command that makes requirements of them, unless something else names packages."""
    said = notices({**SCRIPT, **beside, "pyproject.toml": project})
    expected = (
        "pyproject.toml: Its dependencies are not installed; make a requirements.txt of them with "
        "`uv pip compile pyproject.toml -o requirements.txt`."
    )
    assert said == [expected] * is_noted


FILES = st.sampled_from(["main.py", "main.ipynb", "pipeline.json", "etl.json", "x.json", "requirements.txt"])
CONTENTS = st.binary(max_size=20) | st.sampled_from([b"{}", NOTEBOOK, b'{"timeout": 1}', b'{"timeout": -1}'])


@given(st.text(max_size=5) | st.just("etl"), st.dictionaries(FILES, CONTENTS))
def test_any_folder_is_ignored_good_or_listed_with_problems(name: str, files: dict[str, bytes]) -> None:
    """Nothing crashes discovery."""
    pipeline = inspect_folder(name, files)
    assert pipeline is None or (pipeline.spec is None) == bool(pipeline.problems)
