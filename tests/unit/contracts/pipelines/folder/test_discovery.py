"""Which folders are pipelines."""

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
    """What the folder *name* is, which must be a pipeline. Without a main.ipynb it gets a main.py."""
    discovered = inspect_folder(name, files if "main.ipynb" in files else SCRIPT | files)
    assert discovered is not None
    return discovered


def test_a_script_is_enough() -> None:
    """A folder with main.py is a pipeline with nothing but defaults."""
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
    """A folder without main.py, or with main.ipynb that no metadata calls a notebook, is no pipeline."""
    assert inspect_folder(name, files) is None


def test_notebooks() -> None:
    """A folder with main.ipynb is a pipeline if its metadata say so."""
    pipeline = found("book", {"main.ipynb": EMPTY_NOTEBOOK, "pipeline.json": NOTEBOOK})
    assert pipeline.spec == PipelineSpec(type="notebook")
    assert found("book", {"main.ipynb": EMPTY_NOTEBOOK, "book.json": NOTEBOOK}).metadata_file == "book.json"


@pytest.mark.parametrize("metadata", [b'{"type": "notebook",}', b'{"type": "Notebook"}', b"\xff"])
def test_a_notebook_does_not_vanish(metadata: bytes) -> None:
    """If metadata do not tell what main.ipynb is, the folder is listed with that problem."""
    pipeline = found("book", {"main.ipynb": b"", "pipeline.json": metadata})
    assert pipeline.spec is None
    assert pipeline.problems


def test_a_notebook_needs_its_file() -> None:
    """Metadata that call for a notebook which is not there are a problem."""
    pipeline = found("book", {"pipeline.json": NOTEBOOK})
    assert pipeline.spec is None
    assert [str(problem) for problem in pipeline.problems] == [
        'pipeline.json: type is "notebook"; accepted: "script", as there is no main.ipynb; or add that file'
    ]


def test_metadata_may_bear_the_name_of_the_folder() -> None:
    """Without pipeline.json, {name}.json is read."""
    pipeline = found("etl", {"etl.json": b'{"timeout": 5}'})
    assert (pipeline.metadata_file, pipeline.spec) == ("etl.json", PipelineSpec(timeout=5))
    assert pipeline.notices == ()


def test_metadata_are_never_merged() -> None:
    """With pipeline.json, {name}.json is not read, which is said."""
    pipeline = found("etl", {"pipeline.json": b"{}", "etl.json": b'{"timeout": -1}'})
    assert (pipeline.metadata_file, pipeline.spec) == ("pipeline.json", PipelineSpec())
    assert [notice.file for notice in pipeline.notices] == ["etl.json"]


def test_stray_metadata() -> None:
    """A JSON file that looks like metadata under another name is not read, and how to rename it is said."""
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
def test_other_json_is_left_alone(content: bytes) -> None:
    """JSON that is most likely data draws no notice."""
    assert found("etl", {"data.json": content}).notices == ()


@pytest.mark.parametrize("name", ["my pipeline", "größe", "-x", "a" * 65, "graph"])
def test_names_that_no_pipeline_can_have(name: str) -> None:
    """A folder whose name is no safe name, or taken, is listed with the reason, whatever else is good."""
    pipeline = found(name, {"pipeline.json": b"{}"})
    assert pipeline.spec is None
    assert "rename its folder" in str(pipeline.problems[0])


def test_a_name_is_reserved_exactly_where_the_api_has_it() -> None:
    """No path of the API takes a pipeline's place without being told to discovery."""
    taken = {route.path.split("/")[3] for route in ROUTES if route.path.startswith("/api/pipelines/")}
    assert taken - {"{name}"} == RESERVED_NAMES


def test_a_bad_value_spares_the_listing() -> None:
    """A pipeline with a bad value is listed with its problems."""
    pipeline = found("etl", {"pipeline.json": b'{"timeout": -1}'})
    assert pipeline.spec is None
    assert [problem.field for problem in pipeline.problems] == ["timeout"]


def test_requirements() -> None:
    """Locked requirements are preferred to loose ones."""
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
    """``uv run`` refuses it, too; a script beside a notebook is not what runs."""
    bad = script("# dependencies = [")
    pipeline = inspect_folder("etl", bad)
    assert pipeline is not None
    assert pipeline.spec is None
    assert str(pipeline.problems[0]).startswith("main.py:1: The block `# /// script` is not usable: it is no TOML")
    assert found("book", {**bad, "main.ipynb": EMPTY_NOTEBOOK, "pipeline.json": NOTEBOOK}).problems == ()


def test_settings_of_uv_in_a_script_are_not_read() -> None:
    """Which is said; those of other tools are nobody's business."""
    assert notices(script("# [tool.other]")) == []
    said = ["main.py:1: [tool.uv] is not read; indexes can be named in requirements.txt."]
    assert notices(script("# [tool.uv]", "# index-url = 'https://x'")) == said


FILES = st.sampled_from(
    ["main.py", "main.ipynb", "pipeline.json", "etl.json", "x.json", "requirements.txt", "pyproject.toml", "sub/a.txt"]
)
CONTENTS = st.binary(max_size=20) | st.sampled_from(
    [b"{}", NOTEBOOK, b'{"timeout": 1}', b'{"timeout": -1}', b"-r sub/a.txt\n-e .\n"]
)


@given(st.text(max_size=5) | st.just("etl"), st.dictionaries(FILES, CONTENTS))
def test_no_folder_crashes_it(name: str, files: dict[str, bytes]) -> None:
    """Whatever a folder holds, it is ignored, good, or listed with problems."""
    pipeline = inspect_folder(name, files)
    assert pipeline is None or (pipeline.spec is None) == bool(pipeline.problems)
