"""Which folders are pipelines."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder.discovery import RESERVED_NAMES, Discovered, inspect_folder
from fastflow_contracts.pipelines.folder.pep723 import read_inline
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
def test_an_interpreter_that_a_script_wants_is_not_chosen_by_that(
    requires: str, version: str | None, is_noted: bool
) -> None:
    """Which is said, unless the metadata choose one that will do."""
    metadata = msgspec.json.encode({"python_version": version})
    said = notices(
        {**script("# dependencies = ['six']", f"# requires-python = '{requires}'"), "pipeline.json": metadata}
    )
    expected = (
        f"main.py:1: requires-python is {requires!r}, but only python_version in pipeline.json chooses the interpreter."
    )
    assert said == [expected] * is_noted


def test_settings_of_uv_in_a_script_are_not_read() -> None:
    """Which is said; those of other tools are nobody's business."""
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
    """Which is said, with the command that makes requirements of them, unless something else names packages."""
    said = notices({**SCRIPT, **beside, "pyproject.toml": project})
    expected = (
        "pyproject.toml: Its dependencies are not installed; make a requirements.txt of them with "
        "`uv pip compile pyproject.toml -o requirements.txt`."
    )
    assert said == [expected] * is_noted


FILES = st.sampled_from(["main.py", "main.ipynb", "pipeline.json", "etl.json", "x.json", "requirements.txt"])
CONTENTS = st.binary(max_size=20) | st.sampled_from([b"{}", NOTEBOOK, b'{"timeout": 1}', b'{"timeout": -1}'])


@given(st.text(max_size=5) | st.just("etl"), st.dictionaries(FILES, CONTENTS))
def test_no_folder_crashes_it(name: str, files: dict[str, bytes]) -> None:
    """Whatever a folder holds, it is ignored, good, or listed with problems."""
    pipeline = inspect_folder(name, files)
    assert pipeline is None or (pipeline.spec is None) == bool(pipeline.problems)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_are_read_as_windows_saves_them(mark: str, newline: str) -> None:
    """A byte order mark and CRLF; no mark in a notebook, which Jupyter cannot read either."""
    script = f"# /// script{newline}# dependencies = ['tabulate']{newline}# ///{newline}print(1){newline}"
    metadata = f'{{{newline}  "timeout": 5,{newline}  "description": "ü"{newline}}}{newline}'
    etl = found("etl", {"main.py": (mark + script).encode(), "etl.json": (mark + metadata).encode()})
    assert etl.problems == ()
    assert etl.spec is not None
    assert (etl.spec.timeout, etl.spec.description) == (5, "ü")
    book = mark + '{"type": "notebook"}' + newline
    notebook = EMPTY_NOTEBOOK.replace(b" ", newline.encode())
    assert found("nb", {"main.ipynb": notebook, "pipeline.json": book.encode()}).problems == ()


def test_a_latin_1_script_may_have_a_block() -> None:
    """Python reads it by its first line; the block is read whatever the other bytes are."""
    script = "# -*- coding: latin-1 -*-\n# /// script\n# dependencies = ['tabulate']\n# ///\nprint('ü')\n"
    assert found("etl", {"main.py": script.encode("latin-1")}).problems == ()
    assert read_inline(script.encode("latin-1")).dependencies == ("tabulate",)
