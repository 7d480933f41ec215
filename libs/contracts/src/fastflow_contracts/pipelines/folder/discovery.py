"""Decides which folders are pipelines, and what each one holds. Pure: the caller reads the files."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping

import msgspec

from fastflow_contracts.names import BadName, check_name
from fastflow_contracts.pipelines.folder.notebook import notebook_problems
from fastflow_contracts.pipelines.folder.pep723 import BadInline, Inline, read_inline
from fastflow_contracts.pipelines.format.diagnostics import Notice, Problem
from fastflow_contracts.pipelines.format.json_positions import BadJson, parse
from fastflow_contracts.pipelines.format.manifest import MANIFEST_BYTES_MAX, Manifest, read_manifest
from fastflow_contracts.pipelines.format.spec import PipelineSpec

SCRIPT = "main.py"
NOTEBOOK = "main.ipynb"
MANIFEST = "pipeline.json"
REQUIREMENTS = ("requirements.txt.lock", "requirements.txt")
"""The first existing file is used."""
RESERVED_NAMES = frozenset({"graph"})
"""Names that the API uses for other resources in the place of a pipeline's name."""
PROJECT = "pyproject.toml"
_PROJECT_BYTES_MAX = 32 * 1024


class Discovered(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that is a pipeline, valid or not."""

    name: str
    """Name of the folder. A valid ``PipelineName`` unless ``problems`` reports it."""
    spec: PipelineSpec | None
    """None if and only if there are problems."""
    problems: tuple[Problem, ...] = ()
    notices: tuple[Notice, ...] = ()
    metadata_file: str | None = None
    requirements_file: str | None = None

    @property
    def has_requirements(self) -> bool:
        return self.requirements_file is not None


def inspect_folder(name: str, files: Mapping[str, bytes]) -> Discovered | None:
    """Inspect a folder.

    Args:
        name: Name of the folder.
        files: Content by name of the files directly in the folder. Only JSON and TOML files, scripts and notebooks
            are read; for other files ``b""`` is enough.

    Returns:
        The pipeline, or None if the folder is not a pipeline.
    """
    if name.startswith(".") or name == "__pycache__" or not {SCRIPT, NOTEBOOK} & files.keys():
        return None
    metadata_file = next((file for file in (MANIFEST, f"{name}.json") if file in files), None)
    if metadata_file:
        manifest = read_manifest(files[metadata_file], file_name=metadata_file)
    else:
        manifest = Manifest(PipelineSpec(), (), (), "script")
    # Without main.py, only the metadata can make the folder a pipeline. With unreadable metadata it counts as one:
    # a notebook must not vanish because of a missing comma.
    if SCRIPT not in files and manifest.type == "script":
        return None
    problems = (*_problems(name, files, manifest, metadata_file), *manifest.problems)
    requirements_file = next((file for file in REQUIREMENTS if file in files), None)
    inline = Inline()
    if manifest.type == "script":
        try:
            inline = read_inline(files[SCRIPT])
        except BadInline as error:
            accepted = f"The block `# /// script` is not usable: {error}."
            problems = (Problem(accepted=accepted, line=error.line, file=SCRIPT), *problems)
    return Discovered(
        name=name,
        spec=None if problems else manifest.spec,
        problems=problems,
        notices=(
            *manifest.notices,
            *_inline_notices(inline, manifest.spec),
            *([] if requirements_file or inline.line else _unread_project(files)),
            *_stray_metadata(files, metadata_file),
        ),
        metadata_file=metadata_file,
        requirements_file=requirements_file,
    )


def _problems(
    name: str, files: Mapping[str, bytes], manifest: Manifest, metadata_file: str | None
) -> Iterator[Problem]:
    try:
        check_name(name)
    except BadName as error:
        yield Problem(accepted=str(error))
    if name in RESERVED_NAMES:
        yield Problem(accepted=f"{name!r} cannot be a pipeline's name: the API itself uses it; rename its folder.")
    if manifest.type == "notebook" and NOTEBOOK not in files:
        accepted = f'"script", because there is no {NOTEBOOK}; or add that file'
        yield Problem(field="type", value='"notebook"', accepted=accepted, file=metadata_file)
    elif manifest.type == "notebook":
        yield from notebook_problems(files[NOTEBOOK], file=NOTEBOOK)


def _inline_notices(inline: Inline, spec: PipelineSpec | None) -> Iterator[Notice]:
    """Notices about settings of a script's block that have no effect."""
    if inline.requires_python and spec and not _is_met(inline.requires_python, spec.python_version):
        text = f"is {inline.requires_python[:80]!r}, but only python_version in {MANIFEST} chooses the interpreter."
        yield Notice(field="requires-python", text=text, line=inline.line, file=SCRIPT)
    if "uv" in inline.tool:
        text = f"is not read; indexes can be named in {REQUIREMENTS[-1]}."
        yield Notice(field="[tool.uv]", text=text, line=inline.line, file=SCRIPT)


def _is_met(requires_python: str, python_version: str | None) -> bool:
    """Whether the chosen version meets the usual form ``>=3.12``. An unset version meets nothing."""
    if python_version is None:
        return False
    floor = re.search(r">=\s*(\d{1,4})\.(\d{1,4})", requires_python)
    chosen = tuple(map(int, python_version.split(".")))
    return floor is None or chosen[:2] >= (int(floor[1]), int(floor[2]))


def _unread_project(files: Mapping[str, bytes]) -> Iterator[Notice]:
    if len(text := files.get(PROJECT, b"")) > _PROJECT_BYTES_MAX:
        return
    try:
        project = tomllib.loads(text.decode()).get("project")
    except (ValueError, RecursionError):
        return
    if isinstance(project, dict) and project.get("dependencies"):
        command = f"uv pip compile {PROJECT} -o {REQUIREMENTS[-1]}"
        said = f"Its dependencies are not installed; make a {REQUIREMENTS[-1]} of them with `{command}`."
        yield Notice(text=said, file=PROJECT)


def _stray_metadata(files: Mapping[str, bytes], metadata_file: str | None) -> Iterator[Notice]:
    for file in sorted(files.keys() - {metadata_file}):
        if file.lower().endswith(".json") and _looks_like_metadata(files[file]):
            advice = f"only {metadata_file} is" if metadata_file else f"rename it to {MANIFEST}"
            yield Notice(text=f"It looks like metadata of the pipeline but is not read; {advice}.", file=file)


def _looks_like_metadata(text: bytes) -> bool:
    """Whether more than half of its keys are fields of the format."""
    if len(text) > MANIFEST_BYTES_MAX:
        return False
    try:
        keys = parse(text.decode("utf-8-sig")).value
    except (UnicodeDecodeError, BadJson):
        return False
    if not isinstance(keys, dict):
        return False
    known = keys.keys() & set(PipelineSpec.__struct_fields__)
    return 2 * len(known) > len(keys)
