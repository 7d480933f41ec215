"""Which folders are pipelines."""

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
    """Unsafe or reserved, even if all else is right."""
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


def test_settings_of_uv_in_a_script_are_not_read() -> None:
    """A notice says so; settings of other tools get none."""
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
def test_any_folder_is_ignored_good_or_listed_with_problems(name: str, files: dict[str, bytes]) -> None:
    """Nothing crashes discovery."""
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
    """Python reads it by its first line; the block is read with any other bytes around it."""
    script = "# -*- coding: latin-1 -*-\n# /// script\n# dependencies = ['tabulate']\n# ///\nprint('ü')\n"
    assert found("etl", {"main.py": script.encode("latin-1")}).problems == ()
    assert read_inline(script.encode("latin-1")).dependencies == ("tabulate",)
