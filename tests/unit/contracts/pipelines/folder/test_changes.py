"""What a list of versions says about two folders: names, never content."""

from __future__ import annotations

import pytest

from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_contracts.pipelines.folder.changes import NAMES_MAX, changes
from fastflow_contracts.pipelines.records import PackageChange, VersionChanges


def files(**texts: str) -> dict[str, File]:
    return {name.replace("__", "."): File(text.encode()) for name, text in texts.items()}


Change = tuple[str, str | None, str | None]


def packages(before: str, after: str, file: str = "requirements__txt") -> list[Change]:
    found = changes(files(**{file: before}), files(**{file: after}))
    return [(each.name, each.before, each.after) for each in found.packages]


def test_files_are_added_removed_or_changed() -> None:
    """A changed flag is a change, too."""
    before = files(main__py="1", old__py="1", same__py="1") | {"run.sh": File(b"x")}
    after = files(main__py="2", new__py="1", same__py="1") | {"run.sh": File(b"x", executable=True)}
    assert changes(before, after) == VersionChanges(
        added=("new.py",), removed=("old.py",), changed=("main.py", "run.sh")
    )
    assert changes(before, before) == VersionChanges()


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("six==1.16", "six==1.17", [("six", "==1.16", "==1.17")]),
        ("six", "six\nrich>=13", [("rich", None, ">=13")]),
        ("six\nrich", "six", [("rich", "", None)]),
        ("Ruamel.Yaml==1", "ruamel_yaml ==1", []),
        ("a==1 --hash=sha256:00", "a==1 --hash=sha256:11", []),
        ("a==1 \\\n    --hash=sha256:00", "a==2 \\\n    --hash=sha256:00", [("a", "==1", "==2")]),
        ("pandas[excel]>=2; python_version>'3'", "pandas>=2", [("pandas", "[excel]>=2; python_version>'3'", ">=2")]),
        ("--index-url https://u:secret@host/simple", "", []),
    ],
)
def test_packages_are_compared_by_name(before: str, after: str, found: list[Change]) -> None:
    """However the name is spelled; hashes and options are no demands."""
    assert packages(before, after) == found


@pytest.mark.parametrize(
    "line",
    [
        "tool @ git+https://user:secret@host/tool.git",
        "git+https://secret@host/tool.git",
        "https://user:secret@host/tool.whl?token=secret",
        "tool @ https://host/tool.whl?signature=secret",
    ],
)
def test_no_login_is_shown(line: str) -> None:
    """A login in an address stays in the file."""
    assert "secret" not in str(packages("", line))
    assert "tool" in str(packages("", line))


def test_packages_of_a_script_and_of_a_project_count() -> None:
    """Those of a block in the script, and of pyproject.toml."""
    block = '# /// script\n# dependencies = ["six=={}"]\n# ///\n'
    assert packages(block.format(1), block.format(2), "main__py") == [("six", "==1", "==2")]
    project = '[project]\nname = "p"\nversion = "1"\ndependencies = ["six>={}"]\n'
    assert packages(project.format(1), project.format(2), "pyproject__toml") == [("six", ">=1", ">=2")]


@pytest.mark.parametrize("broken", ["# /// script\n# dependencies = [\n# ///\n", "[project", "\udcff"])
def test_what_cannot_be_read_names_no_package(broken: str) -> None:
    """A notebook's folder may hold anything beside it."""
    data = {"main.py": File(broken.encode(errors="surrogateescape")), "pyproject.toml": File(b"\xff\xfe[")}
    assert changes({}, data).packages == ()


def test_the_lists_are_bounded() -> None:
    """And say how much they leave out."""
    many = {f"{number:04}.txt": File(b"") for number in range(NAMES_MAX + 7)}
    found = changes({}, many)
    assert (len(found.added), found.unnamed) == (NAMES_MAX, 7)
    lines = "\n".join(f"p{number}==1" for number in range(NAMES_MAX + 3))
    assert len(changes({}, files(requirements__txt=lines)).packages) == NAMES_MAX
    assert changes({}, files(requirements__txt=lines)).unnamed == 3
    assert PackageChange(name="p0", after="==1") in changes({}, files(requirements__txt=lines)).packages
