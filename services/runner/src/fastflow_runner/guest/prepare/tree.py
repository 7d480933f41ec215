"""Makes one tree: an interpreter and packages. I/O, through uv.

The working directory is the pipeline's folder, as far as the environment needs it.

Standard library only.
"""

import glob
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections import namedtuple
from contextlib import suppress

from .layout import Store
from .removal import remove

_COMPILE = ("-I", "-S", "-W", "ignore", "-m", "compileall", "-qq", "-j", "0", "--invalidation-mode", "unchecked-hash")
_NO_WHEEL = re.compile(rb"building (from source|source distributions)\b.*? is disabled", re.IGNORECASE)
_BROKEN_PYTHON = b"Failed to inspect Python interpreter"
WITHOUT_INTERPRETER = "::interpreter "
"""Begins the lines that say why uv has no interpreter of its own. The runner shows them where no other one will do."""
_NAMING = (".txt", ".toml", ".lock", ".in")
_NAMING_BYTES_MAX = 32 * 1024**2
_FOLDER = "folder"
"""Copy of the pipeline's folder in a tree, for editable installs."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Recipe = namedtuple("Recipe", "uv python managed requirements project given apart plain build strict here env")
"""What a tree is made of.

``python`` is a version, a range, or a path; ``managed``: of uv's own. ``requirements`` is a file of the folder, and
``given`` the path of another; ``apart``: it comes last and changes nothing. ``project``: the folder's own project comes
first. ``plain``: no foreign code runs. ``build``: it may run. ``strict``: what the operator demands, a set of
"no-build" and "hashes". ``here`` replaces addresses of indexes in a text, and ``env`` are uv's variables: see
``access``.
"""


def make_tree(recipe: Recipe, store: Store, name: str) -> str:
    """Make the tree *name*. A failure leaves no tree, or an empty one where it was mounted for a build.

    Returns:
        "made", or why not: "no wheel", "no interpreter", "failed". uv's words are on standard error.
    """
    tree = store.tree(name)
    os.makedirs(tree, exist_ok=recipe.build)
    cache = os.path.join(tree, ".cache") if recipe.build else store.cache
    environment = uv_environment(recipe.env, store.python, cache)
    exit_code, reason = make_venv(recipe, tree, store, environment)
    failed = "no interpreter" if recipe.managed else "failed"
    interpreter = os.path.join(tree, "bin", "python")
    if exit_code == 0 and not (recipe.plain or recipe.build):
        store.discard(name)  # only the interpreter was missing: a build cannot add one to the store
        return "no wheel"
    if exit_code == 0:
        folder, failed = os.getcwd(), "failed"
        if recipe.build and os.listdir(folder):
            # An editable install refers to its sources for ever.
            folder = os.path.join(tree, _FOLDER)
            shutil.copytree(os.getcwd(), folder)
            lead_here(folder, recipe.here)
        exit_code, reason = install(recipe, tree, folder, environment)
    if exit_code and _NO_WHEEL.search(reason) and "no-build" in recipe.strict:
        reason += b"This installation builds nothing from source; name a release that has a wheel.\n"
    elif exit_code and _NO_WHEEL.search(reason) and not recipe.build:
        failed, reason = "no wheel", b"Some package has no wheel: building it from source.\n"
    if exit_code and failed == "no interpreter":
        reason = b"".join(WITHOUT_INTERPRETER.encode() + line for line in reason.splitlines(keepends=True))
    say(reason)
    if recipe.build:
        _remove(cache)
    if exit_code:
        store.discard(name)
        return failed
    if not has_editable(tree):
        _remove(os.path.join(tree, _FOLDER))
    compile_tree(os.path.realpath(interpreter), tree, store)
    protect(tree)
    return "made"


def make_venv(recipe: Recipe, tree: str, store: Store, environment: "dict[str, str]") -> "tuple[int, bytes]":
    """Make a virtual environment without packages; return uv's exit code and reason."""
    uv, python = recipe.uv, recipe.python
    venv = [uv, "venv", "--no-project", "--allow-existing", "--quiet", f"--python={python}"]
    if recipe.managed:
        if glob.glob(os.path.join(glob.escape(store.python), f"cpython-{python}.*")):
            # To its newest release. Where that fails, the one that is here will do.
            upgrade = [uv, "python", "install", "--quiet", "--no-bin", "--upgrade", python]
            subprocess.run(upgrade, env=environment, stderr=subprocess.DEVNULL, check=False)
        # Without a network, a run must not wait for the end of many tries.
        return run([*venv, "--managed-python", tree], {"UV_HTTP_RETRIES": "1", **environment})
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
    return exit_code, reason


def install(recipe: Recipe, tree: str, folder: str, environment: "dict[str, str]") -> "tuple[int, bytes]":
    """Install what the recipe names; return uv's exit code and reason."""
    python = f"--python={os.path.join(tree, 'bin', 'python')}"
    careful = [] if recipe.build else ["--no-build", "--no-editable"]
    careful = ["--no-build"] if recipe.build and "no-build" in recipe.strict else careful
    hashes = ["--require-hashes"] if "hashes" in recipe.strict else []
    install = [recipe.uv, "pip", "install", python, *careful, *hashes]
    given = [f"--requirement={recipe.given}"] if recipe.given else []
    files = [f"--requirement={recipe.requirements}"] if recipe.requirements else []
    exit_code, reason = 0, b""
    if recipe.project:
        sync = [recipe.uv, "sync", python, *careful, *(["--locked"] if hashes else [])]
        exit_code, reason = run(sync, {**environment, "UV_PROJECT_ENVIRONMENT": tree}, folder)
    if exit_code == 0 and (files or (given and not recipe.apart)):
        exit_code, reason = run([*install, *files, *([] if recipe.apart else given)], environment, folder)
    if exit_code == 0 and given and recipe.apart:
        present = os.path.join(tree, ".present")
        listing = [recipe.uv, "pip", "freeze", python, "--exclude-editable"]
        frozen = subprocess.run(listing, env=environment, stdout=subprocess.PIPE, check=False).stdout.decode()
        with open(present, "w") as file:
            file.write("".join(f"{line}\n" for line in frozen.splitlines() if "==" in line))
        exit_code, reason = run([*install, *given, f"--constraint={present}"], environment, folder)
        os.unlink(present)
    return exit_code, reason


def has_editable(tree: str) -> bool:
    """Whether any package is installed as a reference to its sources."""
    for path in glob.glob(os.path.join(glob.escape(tree), "lib/*/site-packages/*.dist-info/direct_url.json")):
        try:
            with open(path, encoding="utf-8") as file:
                if json.load(file)["dir_info"].get("editable"):
                    return True
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue  # from an archive or a repository, or no such file at all
    return False


def _remove(folder: str) -> None:
    with suppress(OSError):  # the tree is good with it, too
        remove(folder)


def protect(tree: str) -> None:
    """Let no run add, replace or remove a package. Files keep their mode, which scripts copy with them."""
    folders = [tree, os.path.join(tree, "bin"), os.path.join(tree, "lib")]
    folders += glob.glob(os.path.join(glob.escape(tree), "lib/*"))
    folders += glob.glob(os.path.join(glob.escape(tree), "lib/*/site-packages"))
    for folder in folders:
        os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) & ~0o222)


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


def lead_here(folder: str, here: "Callable[[str], str]") -> None:
    """Replace addresses of indexes in the files that name them."""
    for path in glob.glob(os.path.join(glob.escape(folder), "**", "*"), recursive=True, include_hidden=True):
        if not path.endswith(_NAMING) or not os.path.isfile(path) or os.path.getsize(path) > _NAMING_BYTES_MAX:
            continue
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            text = file.read()
        if (changed := here(text)) != text:
            with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(changed)


def uv_environment(base: "Mapping[str, str]", python_dir: str, cache: str) -> "dict[str, str]":
    """Build uv's variables: the settings passed on and the store, but no other virtual environment."""
    kept = {k: v for k, v in base.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")}
    fixed = {"UV_PYTHON_INSTALL_DIR": python_dir, "UV_CACHE_DIR": cache, "UV_NO_PROGRESS": "1"}
    return {"UV_HTTP_RETRIES": "2", **kept, **fixed}


def run(command: "list[str]", environment: "dict[str, str]", folder: "str | None" = None) -> "tuple[int, bytes]":
    """Run uv in a folder and pass its output on.

    Returns:
        The exit code, and uv's text from the first error on, which is not passed on yet.
    """
    with subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE) as uv:
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
    sources = [os.path.join(tree, name) for name in ("lib", _FOLDER) if os.path.isdir(os.path.join(tree, name))]
    subprocess.run([interpreter, *_COMPILE, *sources], env=environment, check=False)
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
