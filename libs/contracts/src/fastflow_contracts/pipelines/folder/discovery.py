"""Decides which folders are pipelines, and what each one holds. Pure: the caller reads the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from fastflow_contracts.names import BadName, check_name
from fastflow_contracts.pipelines.folder.notebook import notebook_problems, read_notebook
from fastflow_contracts.pipelines.folder.notebook_rules import PARAMETERS_TAG, has_tag
from fastflow_contracts.pipelines.folder.packages import REQUIREMENTS, Packages, packages_of
from fastflow_contracts.pipelines.folder.pep723 import BadInline, read_inline
from fastflow_contracts.pipelines.format.diagnostics import Notice, Problem
from fastflow_contracts.pipelines.format.json_positions import BadJson, parse
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_contracts.pipelines.format.manifest import MANIFEST_BYTES_MAX, Manifest, read_manifest
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.parameters.inferred import inferred_schema

SCRIPT = "main.py"
NOTEBOOK = "main.ipynb"
MANIFEST = "pipeline.json"
RESERVED_NAMES = frozenset({"graph"})
"""Names that the API uses for other resources in the place of a pipeline's name."""


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
    python: str | None = None
    """The Python version or range that the other files ask for."""
    inferred_parameters: dict[str, Any] | None = None
    """The schema of a notebook's parameters, as its tagged cell has them, if the metadata has none."""

    @property
    def has_requirements(self) -> bool:
        return self.requirements_file is not None


def inspect_folder(
    name: str,
    files: Mapping[str, bytes],
    policy: LimitPolicy = NO_POLICY,
    *,
    is_whole: bool = True,
    allowed_indexes: tuple[str, ...] = (),
) -> Discovered | None:
    """Inspect a folder.

    Args:
        name: Name of the folder.
        files: Content of its files by relative path.
        policy: The most that a pipeline may demand for its runs.
        is_whole: Whether these are all files; else missing ones are no problem.
        allowed_indexes: Where packages may come from; empty: from anywhere.

    Returns:
        The pipeline, or None if the folder is not a pipeline.
    """
    if name.startswith(".") or name == "__pycache__" or not {SCRIPT, NOTEBOOK} & files.keys():
        return None
    metadata_file = next((file for file in (MANIFEST, f"{name}.json") if file in files), None)
    if metadata_file:
        manifest = read_manifest(files[metadata_file], file_name=metadata_file, policy=policy)
    else:
        manifest = Manifest(PipelineSpec(), (), (), "script")
    # Without main.py, only the metadata can make the folder a pipeline. With unreadable metadata it counts as one:
    # a notebook must not vanish because of a missing comma.
    if SCRIPT not in files and manifest.type == "script":
        return None
    problems = (*_problems(name, files, manifest, metadata_file), *manifest.problems)
    requirements_file = next((file for file in REQUIREMENTS if file in files), None)
    packages = Packages()
    try:
        version = manifest.spec.python_version if manifest.spec else None
        is_script = manifest.type == "script"
        packages = packages_of(files, is_script=is_script, python_version=version, allowed_indexes=allowed_indexes)
    except BadInline as error:
        accepted = f"The block `# /// script` is not usable: {error}."
        problems = (Problem(accepted=accepted, line=error.line, file=SCRIPT), *problems)
    if is_whole:
        problems = (*problems, *packages.problems)
    return Discovered(
        name=name,
        spec=None if problems else manifest.spec,
        problems=problems,
        notices=(
            *manifest.notices,
            *(_inline_notices(files) if manifest.type == "script" else ()),
            *_stray_metadata(files, metadata_file),
        ),
        metadata_file=metadata_file,
        requirements_file=requirements_file,
        python=packages.python,
        inferred_parameters=_inferred(files) if manifest.type == "notebook" and not problems else None,
    )


def _inferred(files: Mapping[str, bytes]) -> dict[str, Any] | None:
    cells = read_notebook(files[NOTEBOOK]).cells
    tagged = (cell.text for cell in cells if cell.is_code and has_tag(cell.metadata.tags, PARAMETERS_TAG))
    return inferred_schema(next(tagged, ""))


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


def _inline_notices(files: Mapping[str, bytes]) -> Iterator[Notice]:
    """Notices about settings of a script's block that have no effect."""
    try:
        inline = read_inline(files[SCRIPT])
    except BadInline:
        return
    if "uv" in inline.tool:
        text = f"is not read; indexes can be named in {REQUIREMENTS[-1]}."
        yield Notice(field="[tool.uv]", text=text, line=inline.line, file=SCRIPT)


def _stray_metadata(files: Mapping[str, bytes], metadata_file: str | None) -> Iterator[Notice]:
    for file in sorted(files.keys() - {metadata_file}):
        if "/" not in file and file.lower().endswith(".json") and _looks_like_metadata(files[file]):
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
