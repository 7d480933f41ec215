"""Makes one environment, step by step, and starts the other steps. I/O; the package's docstring has the store's rules.

Standard library only.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from contextlib import suppress

from . import collect
from .layout import AT_WORK, Store

NEEDS_BUILD_EXIT_CODE = 75
"""Exit code of the step ``wheels``: some package has no wheel."""
INPUT_VARIABLE = "FASTFLOW_INPUT"
"""Names the file given to a step, if any: requirements, or the keys in use."""

_COMPILE = ("-I", "-S", "-W", "ignore", "-m", "compileall", "-qq", "-j", "0", "--invalidation-mode", "unchecked-hash")
_NO_WHEEL = re.compile(rb"building (from source|source distributions)\b.*? is disabled", re.IGNORECASE)
_BROKEN_PYTHON = b"Failed to inspect Python interpreter"
_OPTION = re.compile(r"(?:^|\s)(-[^\s=]*)")
_PLAIN_OPTIONS = (
    *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index"),
    *("--only-binary", "--prefer-binary", "--pre", "--hash"),
)
_REPOSITORY = re.compile(r"\b(git|hg|svn|bzr)\+")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make or remove environments of the store.")
    parser.add_argument("step", choices=("wheels", "build", "link", "list", "mark", "collect", "remove"))
    parser.add_argument("--store", required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--tree", default="", help="name of the tree to make, to link or to remove")
    parser.add_argument("--python", default="", help="a version, or the path of an interpreter")
    parser.add_argument("--owner", type=int, default=0, help="user id of the tree to link")
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--budget-bytes", type=int, default=0, help="bytes that the store may use; 0 = no limit")
    parser.add_argument("--keep-s", type=float, default=0, help="what was used within this time is kept in any case")
    options = parser.parse_args()
    os.umask(0o022)
    store = Store(options.store)
    if options.step == "list":
        sys.stdout.write("".join(f"{key}\n" for key in store.environments()))
        return 0
    if options.step in ("mark", "collect", "remove"):
        return tidy(options, store)
    return make(options, store)


def tidy(options: argparse.Namespace, store: Store) -> int:
    """Run a step that makes nothing, and return its exit code."""
    os.nice(19)  # no run waits for these steps
    if options.step == "remove":
        with suppress(FileNotFoundError):
            collect.delete(store.tree(options.tree))
        return 0
    store.lay_out()
    for line in given().splitlines():
        key, idle_s = line.split()
        store.note_use(key, float(idle_s))
    if options.step == "collect":
        for line in collect.collect(store, options.budget_bytes, options.keep_s):
            sys.stdout.write(f"{line}\n")
    return 0


def make(options: argparse.Namespace, store: Store) -> int:
    """Run a step of a preparation, and return its exit code."""
    if options.step == "wheels":
        store.lay_out()
    store.share(AT_WORK)
    if options.step == "link":
        store.check(options.tree, options.owner)
        store.link(options.key, options.tree)
        return 0
    if options.step == "build":
        return make_tree(options.uv, options.python, store, options.tree, build=True)
    if store.has(options.key):
        store.note_use(options.key, 0)
        return 0
    if not plain(given()):
        return NEEDS_BUILD_EXIT_CODE
    exit_code = make_tree(options.uv, options.python, store, options.tree, build=False)
    if exit_code == 0:
        store.link(options.key, options.tree)
    return exit_code


def given() -> str:
    """Return the text of the file given to this step, or "" if there is none."""
    path = os.environ.get(INPUT_VARIABLE)
    if not path:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def plain(requirements: str) -> bool:
    """Whether these requirements name only packages from indexes.

    uv builds editable installs even with ``--no-build``, an included file may contain one, and fetching a repository
    runs git. All of that belongs in a build's sandbox.
    """
    if "\0" in requirements:
        return False
    # Line by line, continued or not: a backslash can hide nothing; at worst a build is tried without need.
    for line in requirements.splitlines():
        words = re.sub(r"(^|\s)#.*", "", line)
        if _REPOSITORY.search(words) or any(option not in _PLAIN_OPTIONS for option in _OPTION.findall(words)):
            return False
    return True


def make_tree(uv: str, python: str, store: Store, name: str, *, build: bool) -> int:
    """Make the tree *name*. A failure leaves no tree.

    Returns:
        uv's exit code, or ``NEEDS_BUILD_EXIT_CODE``.
    """
    tree = store.tree(name)
    os.mkdir(tree)
    cache = os.path.join(tree, ".cache") if build else store.cache
    environment = uv_environment(os.environ, store.python, cache)
    venv = [uv, "venv", "--no-project", "--allow-existing", "--quiet", f"--python={python}"]
    exit_code, reason = run([*venv, tree], environment)
    if exit_code and _BROKEN_PYTHON in reason:  # the first one on PATH; then use one of uv's own
        exit_code, reason = run([*venv, "--managed-python", tree], environment)
    if exit_code and python == platform.python_version():  # this interpreter, which need not be on PATH
        own = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        exit_code, reason = run([*venv[:-1], f"--python={own}", tree], environment)
    if exit_code and (sentence := not_here(uv, python, environment)):
        for line in reason.splitlines(keepends=True):
            say(b"uv: " + line)
        reason = sentence
    interpreter = os.path.join(tree, "bin", "python")
    file = os.environ.get(INPUT_VARIABLE)
    if exit_code == 0 and file:
        command = [uv, "pip", "install", f"--python={interpreter}", f"--requirements={file}"]
        exit_code, reason = run(command if build else [*command, "--no-build"], environment)
    if exit_code and _NO_WHEEL.search(reason):
        exit_code, reason = NEEDS_BUILD_EXIT_CODE, b"Some package has no wheel: building it from source.\n"
    say(reason)
    if build:
        shutil.rmtree(cache, ignore_errors=True)
    if exit_code == 0:
        compile_tree(os.path.realpath(interpreter), tree, store)
    else:
        store.discard(name)
    return exit_code


def not_here(uv: str, python: str, environment: "dict[str, str]") -> bytes:
    """Return a sentence with the choices if no interpreter of the version is here, else ""."""
    if not re.fullmatch(r"\d+(\.\d+)*", python):
        return b""
    command = [uv, "python", "list", "--only-installed", "--output-format", "json"]
    listed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    try:
        found = [platform.python_version(), *(str(each["version"]) for each in json.loads(listed.stdout))]
    except (ValueError, KeyError, TypeError):
        return b""
    if any(f"{version}.".startswith(f"{python}.") for version in found):
        return b""
    parts = max(2, python.count(".") + 1)
    here = sorted({tuple(map(int, re.findall(r"\d+", version)[:parts])) for version in found})
    choices = ", ".join(".".join(map(str, version)) for version in here) or "none"
    return (
        f"error: Python {python} is not installed here and could not be downloaded (installed: {choices}). "
        f"Name an installed version (python_version in pipeline.json, else DEFAULT_PYTHON_VERSION), or make sure "
        f"that uv can find or download {python}.\n"
    ).encode()


def uv_environment(base: "os._Environ[str]", python_dir: str, cache: str) -> "dict[str, str]":
    """Build uv's variables: the settings passed on and the store, but no other virtual environment."""
    kept = {k: v for k, v in base.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")}
    fixed = {"UV_PYTHON_INSTALL_DIR": python_dir, "UV_CACHE_DIR": cache, "UV_NO_PROGRESS": "1"}
    return {"UV_HTTP_RETRIES": "2", **kept, **fixed}


def run(command: "list[str]", environment: "dict[str, str]") -> "tuple[int, bytes]":
    """Run uv and pass its output on.

    Returns:
        The exit code, and uv's text from the first error on, which is not passed on yet.
    """
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as uv:
        assert uv.stderr is not None
        reason: list[bytes] = []
        for line in uv.stderr:
            if reason or line.startswith((b"error", "  ×".encode())):
                reason.append(line)
            else:
                say(line)
    return uv.returncode, b"".join(reason)


def say(words: bytes) -> None:
    sys.stderr.buffer.write(words)
    sys.stderr.buffer.flush()


def compile_tree(interpreter: str, tree: str, store: Store) -> None:
    """Compile what runs will import, because they cannot. Ignore sources that do not compile."""
    # Its workers meet at a socket in TMPDIR, whose path may be too long for a socket in a process sandbox.
    environment = {**os.environ, "TMPDIR": "/tmp"}  # noqa: S108
    subprocess.run([interpreter, *_COMPILE, os.path.join(tree, "lib")], env=environment, check=False)
    root = os.path.dirname(os.path.dirname(interpreter))
    compiled = os.path.join(root, ".fastflow-compiled")
    if (
        os.path.dirname(root) != os.path.realpath(store.python)
        or os.path.exists(compiled)
        or not os.access(root, os.W_OK)
    ):
        return
    library = os.path.join(root, "lib", os.path.basename(interpreter))
    tests = "/(test|tests|idlelib|idle_test|lib2to3|turtledemo|ensurepip|site-packages)/"
    subprocess.run([interpreter, *_COMPILE, "-x", tests, library], env=environment, check=False)
    with open(compiled, "w"):
        pass
