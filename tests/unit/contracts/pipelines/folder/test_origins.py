"""What a folder's files may name: no variables, and only indexes of the installation."""

from __future__ import annotations

import re

import pytest

from fastflow_contracts.pipelines.folder.origins import ALLOWED_PATTERN, addresses, allowed_of, is_allowed
from fastflow_contracts.pipelines.folder.packages import packages_of
from fastflow_contracts.pipelines.format.diagnostics import Problem

ALLOWED = ("packages.example", "corp.example:8443", "https://a.example/team/simple", "/opt/wheels")
PROJECT = "[project]\nname = 'p'\nversion = '1'\n"


def problems(files: dict[str, str], *allowed: str) -> tuple[Problem, ...]:
    content = {path: text.encode() for path, text in {"main.py": "", **files}.items()}
    return packages_of(content, is_script=True, allowed_indexes=allowed).problems


@pytest.mark.parametrize(
    ("files", "file", "line"),
    [
        ({"requirements.txt": "a\n--index-url http://h/${UV_INDEX_CORP_PASSWORD}/"}, "requirements.txt", 2),
        ({"requirements.txt": "-f http://h/${X}"}, "requirements.txt", 1),
        ({"requirements.txt": "a @ https://h/${x}/a.whl"}, "requirements.txt", 1),
        ({"requirements.txt": "-r ${HOME}/r.txt"}, "requirements.txt", 1),
        ({"requirements.txt": "-i http://h/$\\\n{X}"}, "requirements.txt", 1),
        ({"requirements.txt": "-i http://h/\\${X}"}, "requirements.txt", 1),
        ({"requirements.txt": "-i http://h/${X"}, "requirements.txt", 1),
        ({"requirements.txt": "-r sub/b.txt", "sub/b.txt": "# ok\n-i http://h/${X}"}, "sub/b.txt", 2),
        ({"requirements.txt": "a\n-c c.txt", "c.txt": "a @ https://h/${X}"}, "c.txt", 1),
        ({"main.py": "# /// script\n# dependencies = ['a @ https://h/${X}/a.whl']\n# ///"}, "main.py", 1),
        ({"pyproject.toml": f"{PROJECT}dependencies = ['a @ https://h/${{X}}/a.whl']"}, "pyproject.toml", 4),
        ({"pyproject.toml": f"{PROJECT}[tool.uv]\nindex-url = 'https://h/${{X}}'"}, "pyproject.toml", 5),
        ({"pyproject.toml": f'{PROJECT}[tool.uv]\nindex-url = "https://h/\\u0024{{X}}"'}, "pyproject.toml", None),
        ({"requirements.txt": "a", "uv.toml": "[[index]]\nurl = 'https://h/${X}'"}, "uv.toml", 2),
        ({"pyproject.toml": PROJECT, "uv.lock": 'registry = "https://h/${X}"'}, "uv.lock", 1),
    ],
)
def test_no_variable_is_replaced(files: dict[str, str], file: str, line: int | None) -> None:
    """Wherever uv would: it is a problem that names the line and says what to do."""
    (problem,) = problems(files)
    assert (problem.file, problem.line) == (file, line)
    assert "is not replaced here; write the value itself" in problem.accepted


def test_what_is_no_variable_is_good() -> None:
    """The folder itself, comments, and a project's other fields."""
    files = {
        "requirements.txt": "-e ${PROJECT_ROOT}/mine  # ${X}\n--find-links ${PWD}/wheels\n# -i ${X}\ncost$ ; x\n",
        "mine/pyproject.toml": "[project]\nname = 'mine'\nversion = '1'\n",
        "wheels/a.whl": "",
        "pyproject.toml": f"{PROJECT}description = 'costs ${{X}}'\n[project.urls]\nHome = 'https://h/${{X}}'",
    }
    assert problems(files) == ()


@pytest.mark.parametrize(
    "line",
    [
        "-i https://packages.example.evil.example/simple",
        "--index-url=http://evil.example/simple",
        "--extra-index-url https:evil.example/simple",
        "--extra-index-url HTTPS:\\\\evil.example\\simple",
        "-f https://packages.example@evil.example/",
        "-f 'https://packages.example\"@evil.example/'",
        "-f https://packages.example,x@evil.example/",
        "a @ https://evil.example\\@packages.example/a.whl",
        "a @ git+https://evil.example/a.git",
        "a @ git+ssh://git@evil.example/a.git",
        "git+git@evil.example:a.git",
        "-r https://evil.example/r.txt",
        "-i https://a.example/team/simple/../../other",
        "-i https://a.example/team/simple/%2e%2e/other",
        "-i https://a.example/team/simple-evil",
        "-i http://a.example/team/simple",
        "-i https://corp.example/simple",
        "-f /opt/wheels/../other",
        "--find-links=/etc",
        "-i file:///etc",
    ],
)
def test_an_index_that_is_not_allowed_is_a_problem(line: str) -> None:
    """However its address is written."""
    (problem,) = problems({"requirements.txt": line}, *ALLOWED)
    assert problem.line == 1
    assert "is not among the indexes of this installation; use one of: packages.example" in problem.accepted
    assert problems({"requirements.txt": line}) == ()


@pytest.mark.parametrize(
    "line",
    [
        "requests>=2 ; python_version > '3' --hash=sha256:aa",
        "-i https://PACKAGES.example/simple",
        "-i http://packages.example:8080/simple",
        "a @ https://corp.example:8443/a.whl",
        "-i https://a.example/team/simple/",
        "-i https://a.example:443/team/simple",
        "-i https://user:word@a.example/team/simple",
        "-f /opt/wheels/mine",
        "-f ./wheels",
        "a @ git+https://packages.example/a.git@main",
    ],
)
def test_an_index_that_is_allowed_is_good(line: str) -> None:
    """A host with all below it, with its port if one is named; an address with all below it; a path."""
    assert problems({"requirements.txt": line, "wheels/a.whl": ""}, *ALLOWED) == ()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pyproject.toml", f"{PROJECT}[tool.uv]\nextra-index-url = ['https://evil.example/simple']"),
        ("pyproject.toml", f'{PROJECT}[tool.uv]\nindex-url = "ht\\ttps://evil.example"'),
        ("pyproject.toml", f"{PROJECT}[tool.uv.sources]\na = {{ git = 'https://evil.example/a' }}"),
        ("pyproject.toml", f"{PROJECT}[build-system]\nrequires = ['a @ https://evil.example/a.whl']"),
        ("uv.lock", '{ url = "https://evil.example/a.whl", hash = "sha256:aa" }'),
        ("uv.lock", '{ url = "\\u0068ttps://evil.example/a.whl" }'),
        ("uv.toml", "[pip]\nindex-url = 'https://evil.example/simple'"),
        ("uv.toml", "no toml"),
    ],
)
def test_a_project_names_no_stranger(path: str, text: str) -> None:
    """Neither in its tables, nor in its lock, nor in settings of uv."""
    found = problems({"requirements.txt": "a", "pyproject.toml": PROJECT, path: text}, *ALLOWED)
    assert {problem.file for problem in found} == {path}


def test_a_password_in_an_address_is_not_shown() -> None:
    """The problem names the host alone."""
    (problem,) = problems({"requirements.txt": "-i https://me:hunter2@evil.example/simple"}, *ALLOWED)
    assert "hunter2" not in problem.accepted
    assert "evil.example" in problem.accepted


def test_the_setting_is_a_list() -> None:
    """With commas; nonsense is refused at the start of a service."""
    text = " packages.example, https://a.example/simple,/opt/wheels ,corp:8443"
    assert re.fullmatch(ALLOWED_PATTERN, text)
    assert re.fullmatch(ALLOWED_PATTERN, "")
    assert allowed_of(text) == ("packages.example", "https://a.example/simple", "/opt/wheels", "corp:8443")
    for bad in ("packages.example pypi.com", "ftp://x", "https://u:p@h/", "corp:port"):
        assert not re.fullmatch(ALLOWED_PATTERN, bad)
    assert list(addresses("nothing here: at all")) == []
    assert not is_allowed("https://[bad", ("packages.example",))
