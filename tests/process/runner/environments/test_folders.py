"""Environments made in the pipeline's folder, against ``uv run`` in the same folder. Real uv, packages of our own."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from uv import find_uv_bin

from fastflow_contracts.pipelines.folder.bundle import pack
from fastflow_runner.environments.environments import EnvironmentFailed, Environments
from fastflow_runner.environments.store import EnvironmentKey, environment_key, process_place, requests_of
from fastflow_runner.environments.variables import Access
from fastflow_runner.sandbox.process import ProcessSandboxes
from tests.packages import make_sdist, make_wheel
from tests.support.folders import Files, bundle_of, contents, package, script_output, uv_run, write

BLOCK = "# /// script\n# dependencies = ['two']\n# ///\n"
ASK = """\
import importlib, importlib.metadata
for name in ("one", "two", "three", "mine", "other"):
    try:
        print(name, importlib.import_module(name).WORDS, importlib.metadata.version(name))
    except ImportError:
        print(name, "is not there")
"""
PROJECT = "[project]\nname = 'folder'\nversion = '1'\n"


class Workshop:
    """A store, and an index of three packages in two versions."""

    def __init__(self, root: Path, sandboxes: ProcessSandboxes) -> None:
        self.root = root
        self.links = root / "links"
        self.links.mkdir()
        for name in ("one", "two", "three"):
            for version in ("1.0", "2.0"):
                make_wheel(self.links, name, version, f"WORDS = '{name} {version}'")
        self.settings = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(self.links), "UV_OFFLINE": "1"}
        self.place = process_place(root / "store")
        self.environments = Environments(sandboxes, self.place, runner="test", access=Access(self.settings))
        self.said: list[str] = []

    async def output(self, files: Files) -> str:
        """Return what main.py prints in a run's environment, in a copy of its folder."""
        request, *_ = requests_of("", bundle_of(files))
        made = await self.environments.prepare(request, say=self.say)
        assert made.python is not None
        return script_output(made.python, write(files, self.root / f"copy-{len(list(self.root.iterdir()))}"))

    def uv_run(self, files: Files) -> str:
        settings = {**self.settings, "UV_CACHE_DIR": str(self.root / "cache")}
        return uv_run(write(files, self.root / f"oracle-{len(list(self.root.iterdir()))}"), settings)

    def key(self, files: Files) -> EnvironmentKey | None:
        request, *_ = requests_of("", bundle_of(files))
        return environment_key(request, self.place)

    async def say(self, text: str) -> None:
        self.said += text.split("\n")


@pytest_asyncio.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    yield Workshop(tmp_path, sandboxes)
    assert await sandboxes.held() == ()
    await sandboxes.close()


FOLDERS: dict[str, Files] = {
    "includes and constraints": {
        "requirements.txt": "-r base.txt\n-c constraints.txt\ntwo\n",
        "base.txt": "one==1.0\n",
        "constraints.txt": "two<2\n",
    },
    "includes in folders, each relative to its file": {
        "requirements.txt": "-r sub/a.txt\n",
        "sub/a.txt": "--requirement=b.txt\n--constraint ../limits.txt\none\n",
        "sub/b.txt": "-r deeper/c.txt\n",
        "sub/deeper/c.txt": "two\n",
        "limits.txt": "one==1.0\ntwo==1.0",
    },
    "a circle of includes": {"requirements.txt": "one\n-r more.txt\n", "more.txt": "-r requirements.txt\ntwo\n"},
    "a local package": {"requirements.txt": "./mine\n", **package("mine", "mine", "WORDS = 'built'")},
    "a named local package": {"requirements.txt": "mine @ ./mine\n", **package("mine", "mine", "WORDS = 'built'")},
    "a local package by URL": {
        "requirements.txt": "mine @ file:///${PROJECT_ROOT}/mine\n",
        **package("mine", "mine", "WORDS = 'built'"),
    },
    "an editable package": {"requirements.txt": "-e ./mine\n", **package("mine", "mine", "WORDS = 'built'")},
    "the folder itself, editable": {"requirements.txt": "-e .\n", **package("", "mine", "WORDS = 'own'")},
    "a package named in a nested file is relative to the folder": {
        "requirements.txt": "-r sub/a.txt\n",
        "sub/a.txt": "./mine\n",
        **package("mine", "mine", "WORDS = 'built'"),
    },
    "a package with dependencies": {
        "requirements.txt": "./mine\ntwo<2\n",
        **package("mine", "mine", "WORDS = 'built'", extra="dependencies = ['one<2', 'two']"),
    },
    "UTF-16 requirements and a block": {"requirements.txt": "one==1.0\n".encode("utf-16"), "main.py": BLOCK + ASK},
    "requirements with a BOM and CRLF, no last line end": {
        "requirements.txt": b"\xef\xbb\xbfone==1.0\r\nthree",
        "main.py": BLOCK + ASK,
    },
    "a project": {"pyproject.toml": f"{PROJECT}dependencies = ['one<2', 'two']\n"},
    "a project with groups": {
        "pyproject.toml": f"{PROJECT}dependencies = ['one']\n[dependency-groups]\ndev = ['two<2']\ndocs = ['three']\n"
    },
    "a project that is a package": package("", "mine", "WORDS = 'own'", extra="dependencies = ['one<2']"),
    "a project with a local source": {
        "pyproject.toml": f"{PROJECT}dependencies = ['mine']\n[tool.uv.sources]\nmine = {{ path = 'libs/mine' }}\n",
        **package("libs/mine", "mine", "WORDS = 'built'"),
    },
    "a project and requirements, which win": {
        "pyproject.toml": f"{PROJECT}dependencies = ['one', 'two<2']\n",
        "requirements.txt": "one==1.0\nthree==1.0\n",
    },
    "a block instead of the project": {
        "pyproject.toml": f"{PROJECT}dependencies = ['one']\n",
        "main.py": BLOCK + ASK,
    },
    "a pyproject.toml for other tools only": {
        "pyproject.toml": "[tool.ruff]\nline-length = 120\n",
        "requirements.txt": "one\n",
    },
    "settings of uv": {
        "pyproject.toml": "[tool.uv]\nconstraint-dependencies = ['one<2']\n[tool.uv.pip]\n",
        "requirements.txt": "two\n",
    },
    "a lock beside requirements": {"requirements.txt": "one\n", "requirements.txt.lock": "one==1.0\n"},
    "comments, continued lines and markers": {
        "requirements.txt": "# -r nothing.txt\none==1.0  # -e ./nothing\ntwo==1.0 ; python_version > '3'\n"
    },
    "only comments": {"requirements.txt": "# nothing yet\n"},
}


@pytest.mark.parametrize("name", FOLDERS)
async def test_a_folder_gets_what_uv_run_gives_it(workshop: Workshop, name: str) -> None:
    """The same packages in the same versions, from the same places."""
    files = {"main.py": ASK, **FOLDERS[name]}
    assert await workshop.output(files) == workshop.uv_run(files)


async def test_wheels_of_the_folder_are_found(workshop: Workshop) -> None:
    """By path, and by ``--find-links`` relative to the file that names them, which ``uv run`` itself ignores."""
    wheel = make_wheel(workshop.root, "mine", "1.0", "WORDS = 'wheel'").read_bytes()
    for lines in ("./wheels/mine-1.0-py3-none-any.whl\n", "mine\n--find-links ./wheels\n", "-r sub/a.txt\n"):
        files = {
            "main.py": "import mine; print(mine.WORDS)",
            "requirements.txt": lines,
            "sub/a.txt": "--find-links=../wheels\nmine\n",
            "wheels/mine-1.0-py3-none-any.whl": wheel,
        }
        assert await workshop.output(files) == "wheel\n"


async def test_a_change_of_any_file_that_was_read_makes_another_environment(workshop: Workshop) -> None:
    """And a change of no other file does."""
    files: Files = {
        "main.py": ASK,
        "data.csv": "1",
        "requirements.txt": "-r base.txt\n./mine\n--find-links links\n",
        "base.txt": "one\n-c limits.txt\n",
        "limits.txt": "one<2\n",
        "links/one-1.0-py3-none-any.whl": "",
        "links/deeper/two-1.0-py3-none-any.whl": "",
        **package("mine", "mine", "WORDS = 1"),
    }
    key = workshop.key(files)
    read = {path for path in files if workshop.key({**files, path: f"{files[path]!s}\n# changed"}) != key}
    assert read == files.keys() - {"main.py", "data.csv", "links/deeper/two-1.0-py3-none-any.whl"}
    assert workshop.key({**files, "mine/new.py": ""}) != key == workshop.key({**files, "new.py": ""})


async def test_a_lock_of_uv_is_kept_to(workshop: Workshop) -> None:
    """Exactly its versions, though newer ones exist; a changed lock is another environment."""
    files = {"main.py": ASK, "pyproject.toml": f"{PROJECT}dependencies = ['one', 'two']\nrequires-python = '>=3.9'\n"}
    lock = locked(workshop, files, "one==1.0", "two==1.0")
    with_lock = {**files, "uv.lock": lock}
    expected = workshop.uv_run(with_lock)
    assert await workshop.output(with_lock) == expected
    assert "one one 1.0 1.0\ntwo two 1.0 1.0\n" in expected
    assert workshop.key(files) != workshop.key(with_lock)


def locked(workshop: Workshop, files: Files, *constraints: str) -> str:
    """Return the lock that uv makes of a project with older versions."""
    folder = write(files, workshop.root / "locking")
    settings = {**workshop.settings, "UV_CACHE_DIR": str(workshop.root / "cache")}
    packages = [word for constraint in constraints for word in ("--upgrade-package", constraint)]
    subprocess.run(
        [find_uv_bin(), "lock", "--quiet", *packages], cwd=folder, env={**os.environ, **settings}, check=True
    )
    return (folder / "uv.lock").read_text()


async def test_what_is_added_needs_no_hash(workshop: Workshop) -> None:
    """``--require-hashes`` holds for the user's file, and what we or a block add changes nothing that is there."""
    digest = hashlib.sha256((workshop.links / "one-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    hashed = f"--require-hashes\none==1.0 --hash=sha256:{digest}\n"
    files = {"main.py": BLOCK + ASK, "requirements.txt": hashed}
    assert await workshop.output(files) == workshop.uv_run(files)
    with pytest.raises(EnvironmentFailed, match=r"one==1\.0"):
        await workshop.output({**files, "main.py": BLOCK.replace("two", "one>=2") + ASK})
    with pytest.raises(EnvironmentFailed, match=r"[Hh]ash"):
        await workshop.output({**files, "requirements.txt": hashed + "three\n"})


async def test_a_notebook_has_a_kernel_beside_the_packages_of_its_folder(workshop: Workshop) -> None:
    """Beside UTF-16 requirements, hashed ones and a project."""
    make_wheel(workshop.links, "ipykernel", "6.1", "")
    digest = hashlib.sha256((workshop.links / "one-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    for files in (
        {"requirements.txt": "one==1.0\n".encode("utf-16")},
        {"requirements.txt": f"--require-hashes\none==1.0 --hash=sha256:{digest}\n".encode()},
        {"pyproject.toml": f"{PROJECT}dependencies = ['one<2']\n".encode()},
    ):
        everything = {"main.ipynb": b"{}", **files}
        bundle = pack(contents(everything)).data
        request, _ = requests_of("", bundle, "notebook")
        made = await workshop.environments.prepare(request, say=workshop.say)
        assert made.python is not None
        ask = "import one, ipykernel; print(one.WORDS)"
        assert subprocess.run([made.python, "-c", ask], capture_output=True, text=True).stdout == "one 1.0\n"


async def test_a_project_without_a_wheel_is_built_by_itself(workshop: Workshop) -> None:
    """Its dependencies, too; nothing of the build stays in the shared cache."""
    make_sdist(workshop.links, "other", "1.0", "def source(): return \"WORDS = 'built'\"")
    files = {"main.py": ASK, "pyproject.toml": f"{PROJECT}dependencies = ['other']\n"}
    assert await workshop.output(files) == workshop.uv_run(files)
    assert not list((workshop.root / "store/cache").rglob("*other*"))


async def test_an_editable_package_stays_where_its_environment_is(workshop: Workshop) -> None:
    """Its sources are part of the environment; without one, no copy of the folder is kept."""
    files = {"main.py": "import mine; print(mine.__file__)", **package("mine", "mine", "")}
    editable = await workshop.output({**files, "requirements.txt": "-e ./mine\n"})
    assert Path(editable.strip()).is_relative_to(workshop.root / "store/trees")
    await workshop.output({**files, "requirements.txt": "./mine\n"})
    assert len(list((workshop.root / "store/trees").glob("*/folder"))) == 1


async def test_a_range_chooses_the_interpreter(workshop: Workshop) -> None:
    """Of a block or a project: the sandbox's own if it is in the range, else the one that uv finds."""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for files in (
        {"main.py": f"# /// script\n# requires-python = '>={own}'\n# ///\n{ask}"},
        {"main.py": ask, "pyproject.toml": f"{PROJECT}requires-python = '=={own}.*'\n"},
        {"main.py": ask, "pyproject.toml": f"{PROJECT}requires-python = '>={platform.python_version()}'\n"},
        {"main.py": ask, ".python-version": f"{own}\n"},
    ):
        assert await workshop.output(files) == f"{own}\n"
    with pytest.raises(EnvironmentFailed, match=r">=3\.99"):
        await workshop.output({"main.py": f"# /// script\n# requires-python = '>=3.99'\n# ///\n{ask}"})


async def test_the_record_names_the_release_of_the_interpreter(workshop: Workshop) -> None:
    """Of an environment just made, and of one that a later runner finds."""
    request, *_ = requests_of("", bundle_of({"main.py": ""}))
    made = await workshop.environments.prepare(request, say=workshop.say)
    assert made.python_version.startswith(platform.python_version())
    assert workshop.environments.ready(request) is not None


async def test_runs_cannot_add_or_replace_packages(workshop: Workshop) -> None:
    """The folders of an environment cannot be written; its files keep the mode that scripts copy with them."""
    request, *_ = requests_of("", bundle_of({"main.py": "", "requirements.txt": "one\n"}))
    made = await workshop.environments.prepare(request, say=workshop.say)
    assert made.python is not None
    site = next(Path(made.python).parents[1].glob("lib/python*/site-packages"))
    assert not site.stat().st_mode & 0o222
    assert (site / "one.py").stat().st_mode & 0o200
