"""What a folder asks of its environment, which files say so, and what is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder.packages import Packages, packages_of
from fastflow_contracts.pipelines.folder.python_versions import choose, is_range, is_version, meets
from tests.support.folders import Files, contents, package

PROJECT = "[project]\nname = 'x'\nversion = '1'\n"
MINE = package("mine", "mine", "")


def asked(files: Files, *, version: str | None = None, is_script: bool = True) -> Packages:
    plain = {path: file.data for path, file in contents(files).items()}
    return packages_of(plain, is_script=is_script, python_version=version)


def said(files: Files, version: str | None = None) -> list[str]:
    return [str(problem) for problem in asked(files, version=version).problems]


@pytest.mark.parametrize(
    ("files", "paths"),
    [
        ({"requirements.txt": "rich\n", "main.py": "", "data.csv": ""}, ["requirements.txt"]),
        ({"requirements.txt": "# nothing\n"}, []),
        ({"requirements.txt": "-r a.txt\n", "a.txt": "-c b.txt", "b.txt": "", "c.txt": ""}, ["a.txt", "b.txt"]),
        ({"requirements.txt": "-r sub/a.txt\n", "sub/a.txt": "-r ../b.txt", "b.txt": "x"}, ["b.txt", "sub/a.txt"]),
        ({"requirements.txt": "./mine\n", **MINE}, list(MINE)),
        ({"requirements.txt": "-e mine\n", **MINE}, list(MINE)),
        ({"requirements.txt": "--editable=./mine[fast] ; python_version > '3'\n", **MINE}, list(MINE)),
        ({"requirements.txt": "mine[fast] @ file:./mine\n", **MINE}, list(MINE)),
        ({"requirements.txt": "mine\n", **MINE}, []),
        ({"requirements.txt": "a.whl\nsub/b-1.tar.gz --hash=sha256:0\n", "a.whl": "", "sub/b-1.tar.gz": ""}, None),
        ({"requirements.txt": "-f sub\n", "sub/a.whl": "", "sub/x/b.whl": ""}, ["sub/a.whl"]),
        ({"requirements.txt": "rich @ https://host/r.whl\nx @ git+https://host/x\n-r https://host/r.txt\n"}, []),
        ({"requirements.txt": "rich\n-f https://host/links\n-f /opt/links\n--index-url file:///opt/simple\n"}, []),
        (
            {"pyproject.toml": PROJECT, "uv.lock": "", "uv.toml": "", "x.py": ""},
            ["pyproject.toml", "uv.lock", "uv.toml"],
        ),
        ({"pyproject.toml": "[tool.ruff]\n", "uv.lock": ""}, []),
        ({"pyproject.toml": "[tool.uv]\nno-index = true\n", "requirements.txt": "rich"}, ["pyproject.toml"]),
        ({**package("", "own", ""), "README.md": "", "main.py": ""}, None),
    ],
)
def test_every_file_that_is_read_is_known(files: Files, paths: list[str] | None) -> None:
    """And no other. None: all of them."""
    found = asked(files)
    assert found.problems == ()
    expected = set(files if paths is None else paths) | ({"requirements.txt"} if found.requirements_file else set())
    assert set(found.paths) == expected


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("rich\n\n-r base.txt\n", "requirements.txt:3: `base.txt` is not in this folder; add it, or remove this line."),
        ("-c ../limits.txt", "requirements.txt:1: `../limits.txt` is outside this folder"),
        ("./nothing", "requirements.txt:1: `./nothing` is not in this folder"),
        ("rich\n-e ../lib # ours", "requirements.txt:2: `../lib` is outside this folder"),
        ("lib @ file:///home/me/lib", "requirements.txt:1: `file:///home/me/lib` is outside this folder"),
        ("./data", "requirements.txt:1: `./data` is no package: it has neither pyproject.toml nor setup.py."),
        ("--find-links wheels", "requirements.txt:1: `wheels` is not in this folder"),
        ("-r sub/a.txt", "sub/a.txt:2: `c.txt` is not in this folder"),
    ],
)
def test_what_is_missing_or_outside_is_a_problem_with_its_line(lines: str, sentence: str) -> None:
    """Before any run fails because of it."""
    (problem,) = said({"requirements.txt": lines, "data/x.csv": "", "sub/a.txt": "rich\n-r c.txt", "c.txt": ""})
    assert problem.startswith(sentence)


def test_sources_of_projects_are_looked_for() -> None:
    """Those of the folder's own project, and those of its local packages."""
    source = "[tool.uv.sources]\nlib = { path = 'libs/lib' }\n"
    assert said({"pyproject.toml": PROJECT + source}) == [
        "pyproject.toml:5: `libs/lib` is not in this folder; add it, or remove this line."
    ]
    nested = {
        **MINE,
        "mine/pyproject.toml": MINE["mine/pyproject.toml"] + "[tool.uv.sources]\na = { path = '../../a' }",
    }
    (problem,) = said({"requirements.txt": "./mine", **nested})
    assert problem.startswith("mine/pyproject.toml:")
    assert "outside this folder" in problem
    assert said({"pyproject.toml": "[project"})[0].startswith("pyproject.toml: It is no TOML: ")


@pytest.mark.parametrize("text", ["rich\n-r base.txt\n", "rich\r\n-r base.txt", "rich\r-r \\\nbase.txt"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_encoding_of_a_file_is_what_its_first_bytes_say(text: str, encoding: str) -> None:
    """UTF-16 is what Windows PowerShell writes; what cannot be read is a problem."""
    files = {"requirements.txt": text.encode(encoding), "base.txt": b""}
    assert asked(files).paths == ("base.txt", "requirements.txt")
    assert said({"requirements.txt": b"rich # \xe4\n"}) == [
        "requirements.txt: It is not UTF-8, so uv cannot read it; save it as UTF-8."
    ]


def test_a_block_replaces_the_project_and_requirements_come_on_top() -> None:
    """As for ``uv run --with-requirements``; a notebook has no block."""
    block = "# /// script\n# dependencies = ['six']\n# ///\n"
    files = {"main.py": block, "pyproject.toml": PROJECT, "requirements.txt": "--require-hashes\nrich\n"}
    script, notebook = asked(files), asked(files, is_script=False)
    assert (script.is_project, script.inline, script.requirements_file) == (False, ("six",), "requirements.txt")
    assert (notebook.is_project, notebook.inline, notebook.requirements_file) == (True, (), "requirements.txt")
    assert script.requires_hashes


@pytest.mark.parametrize(
    ("requires", "version", "is_met"),
    [
        (">=3.12", "3.12", True),
        (">=3.12", "3.11", False),
        (">=3.12,<4", "3.11.9", False),
        (">=3.9.1", "3.9", True),
        (">=3.9.1", "3.9.0", False),
        ("==3.12.*", "3.12", True),
        ("==3.12", "3.12", True),
        ("==3.12", "3.12.4", False),
        ("!=3.12.*", "3.12", False),
        ("~=3.11", "3.13", True),
        ("~=3.11.2", "3.12", False),
        ("<3.13", "3.13", False),
        (">3.11", "3.11", True),
        ("<=3.11", "3.12", False),
        (">=3.12.0rc1", "3.12", True),
    ],
)
def test_a_range_that_the_chosen_version_misses_is_a_problem(requires: str, version: str, is_met: bool) -> None:
    """In a block and in a project, with its line; a minor version stands for all its releases."""
    assert meets(version, requires) == is_met
    for file, text, line in (
        ("main.py", f"# /// script\n# requires-python = '{requires}'\n# ///\n", 1),
        ("pyproject.toml", f"{PROJECT}requires-python = '{requires}'\n", 4),
    ):
        expected = [
            f'{file}:{line}: requires-python is "{requires}"; accepted: a range with {version}, the python_version of '
            "pipeline.json; change one of them"
        ]
        assert said({file: text}, version) == expected * (not is_met)
        assert asked({file: text}).python == requires


def test_what_is_no_range_is_a_problem() -> None:
    """uv refuses it, too."""
    (problem,) = said({"pyproject.toml": f"{PROJECT}requires-python = 'newest'\n"})
    assert problem.startswith('pyproject.toml:4: requires-python is "newest"; accepted: a range of versions')


def test_a_pinned_version_is_asked_for() -> None:
    """By ``.python-version``, before any range."""
    files = {".python-version": "# ours\n3.12\n", "pyproject.toml": f"{PROJECT}requires-python = '>=3.10'"}
    assert asked(files).python == "3.12"
    assert asked({".python-version": "pypy@3.10"}).python is None


@pytest.mark.parametrize(
    ("wanted", "default", "chosen"),
    [
        (None, "3.12", "3.12"),
        (None, "", ""),
        ("3.11", "3.12", "3.11"),
        (">=3.11", "3.12", "3.12"),
        (">=3.13", "3.12", ">=3.13"),
        (">=3.13", "", ">=3.13"),
    ],
)
def test_the_default_decides_within_a_range(wanted: str | None, default: str, chosen: str) -> None:
    """Outside it, the range does; a version that is named is that one."""
    assert choose(wanted, default) == chosen


PATHS = st.sampled_from(
    ["requirements.txt", "a/b.txt", "main.py", "pyproject.toml", "a/pyproject.toml", ".python-version"]
)
WORDS = [
    "-r ",
    "-c",
    "-e ",
    "./",
    "a",
    "/b.txt",
    "..",
    "\n",
    "\\\n",
    "@ file:",
    "${X}",
    "[",
    "]",
    "=",
    '"',
    "#",
    "-f",
    " ",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=12).map("".join) | st.text(max_size=20)


@given(st.dictionaries(PATHS, TEXTS), st.booleans())
def test_no_text_stops_it(files: dict[str, str], is_script: bool) -> None:
    """For any files it answers, and names only files that exist."""
    found = asked(files, is_script=is_script)
    assert set(found.paths) <= files.keys()


@given(st.text(max_size=20))
def test_versions_and_ranges_are_told_apart(text: str) -> None:
    """No text is both."""
    assert not (is_version(text) and is_range(text))
