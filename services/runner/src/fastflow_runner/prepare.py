#!/usr/bin/python3
"""Makes one environment of the store. Runs inside a preparer's sandbox, alone: standard library only.

**The store** is one directory (a named volume of the Docker daemon, a plain directory of the process sandbox),
writable in preparers and read-only in runs::

    envs/<key>      a link to a tree; an environment exists when this link does
    trees/<id>/     a virtual environment, by a random id; anybody's until it is linked
    python/         interpreters, as uv manages them
    cache/          uv's cache

A tree is made under its own, final path, so nothing in it ever has to be rewritten, and the link is made last and
at once: there is no half an environment. Of two preparers of one key the first to link wins; the other throws its
tree away.

**Who may write what.** uv itself runs no foreign code as long as it installs wheels. Building a source
distribution does. Hence three steps, each in a sandbox of its own:

1. ``wheels`` runs as the store's owner and installs wheels only, by way of the shared cache. It links its tree.
   Requirements that name more than packages and indexes (see ``plain``) are none of its business.
2. ``build``, only if a package has no wheel, runs as a user id drawn at random for this one build. ``trees`` is
   sticky and writable to all, the rest of the store is writable to its owner only. So foreign code can write the
   tree it is building, in that a cache of its own that is thrown away, and nothing else. It cannot link.
3. ``link`` runs as the owner again, checks that the tree belongs to that user, and links it. By then the build's
   sandbox is gone, and its user id is never used again.

In the process sandbox all of this is one and the same user, as is everything that the scripts themselves do.

**No package code runs here, either**: site-packages is compiled by the bare interpreter (``-I -S``), which reads
neither ``.pth`` files nor ``sitecustomize``.
"""

import argparse
import os
import re
import shutil
import stat
import subprocess
import sys

NEEDS_BUILD_EXIT_CODE = 75
"""Of step ``wheels``: some package has no wheel."""
REQUIREMENTS_VARIABLE = "FASTFLOW_REQUIREMENTS"
"""Names the requirements file, if there is one."""

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
    parser = argparse.ArgumentParser(description="Make one environment of the store.")
    parser.add_argument("step", choices=("wheels", "build", "link", "list"))
    parser.add_argument("--store", required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--tree", default="", help="name of the tree to make or to link")
    parser.add_argument("--python", default="", help="a version, or the path of an interpreter")
    parser.add_argument("--owner", type=int, default=0, help="user id of the tree to link")
    parser.add_argument("--uv", default="uv")
    options = parser.parse_args()
    os.umask(0o022)
    store = Store(options.store)
    if options.step == "list":
        sys.stdout.write("".join(f"{key}\n" for key in store.environments()))
        return 0
    if options.step == "link":
        store.check(options.tree, options.owner)
        store.link(options.key, options.tree)
        return 0
    if options.step == "build":
        return make_tree(options.uv, options.python, store, options.tree, build=True)
    store.lay_out()
    if store.has(options.key):
        return 0
    if not plain(requirements()):
        return NEEDS_BUILD_EXIT_CODE
    exit_code = make_tree(options.uv, options.python, store, options.tree, build=False)
    if exit_code == 0:
        store.link(options.key, options.tree)
    return exit_code


def requirements() -> str:
    """The requirements' text; empty if there are none."""
    path = os.environ.get(REQUIREMENTS_VARIABLE)
    if not path:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def plain(requirements: str) -> bool:
    """Whether these are packages from indexes and nothing else.

    uv builds editable installs even with ``--no-build``, an included file may hold one, and fetching a repository
    runs git. All of that is for the sandbox of a build.
    """
    if "\0" in requirements:
        return False
    # Line by line, continued or not: nothing can hide behind a backslash, at worst a build is tried in vain.
    for line in requirements.splitlines():
        words = re.sub(r"(^|\s)#.*", "", line)
        if _REPOSITORY.search(words) or any(option not in _PLAIN_OPTIONS for option in _OPTION.findall(words)):
            return False
    return True


class Store:
    """The store's directories and links."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.trees = os.path.join(path, "trees")
        self.envs = os.path.join(path, "envs")
        self.python = os.path.join(path, "python")
        self.cache = os.path.join(path, "cache")

    def lay_out(self) -> None:
        """Make what is missing. Only the store's owner can."""
        for directory, mode in ((self.envs, 0o755), (self.python, 0o755), (self.cache, 0o700), (self.trees, 0o1777)):
            os.makedirs(directory, exist_ok=True)
            if stat.S_IMODE(os.stat(directory).st_mode) != mode:
                os.chmod(directory, mode)

    def tree(self, name: str) -> str:
        if not name.isalnum():
            raise SystemExit(f"{name!r} is no name of a tree.")
        return os.path.join(self.trees, name)

    def env(self, key: str) -> str:
        if not key.isalnum():
            raise SystemExit(f"{key!r} is no key of an environment.")
        return os.path.join(self.envs, key)

    def has(self, key: str) -> bool:
        """Whether the environment exists and leads to an interpreter."""
        return os.path.exists(os.path.join(self.env(key), "bin", "python"))

    def environments(self) -> "list[str]":
        """The keys of all that exist."""
        names = os.listdir(self.envs) if os.path.isdir(self.envs) else []
        return [name for name in names if name.isalnum() and self.has(name)]

    def check(self, tree: str, owner: int) -> None:
        """Refuse a tree that some other user than its builder has put there."""
        status = os.lstat(self.tree(tree))
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner:
            raise SystemExit(f"The tree {tree} is not its builder's; the environment is refused.")

    def link(self, key: str, tree: str) -> None:
        """Make *tree* the environment *key*, unless there is a sound one by now."""
        target = os.path.join(os.pardir, "trees", os.path.basename(self.tree(tree)))
        try:
            os.symlink(target, self.env(key))
        except FileExistsError:
            if self.has(key):
                self.discard(tree)
                return
            # A link whose tree or interpreter is gone. Two that repair it at once both link a sound tree.
            aside = f"{self.env(key)}.{os.path.basename(target)}"
            os.symlink(target, aside)
            os.replace(aside, self.env(key))

    def discard(self, tree: str) -> None:
        shutil.rmtree(self.tree(tree), ignore_errors=True)


def make_tree(uv: str, python: str, store: Store, name: str, *, build: bool) -> int:
    """Make the tree *name*; return uv's exit code, or ``NEEDS_BUILD_EXIT_CODE``. A failure leaves no tree."""
    tree = store.tree(name)
    os.mkdir(tree)
    cache = os.path.join(tree, ".cache") if build else store.cache
    environment = uv_environment(os.environ, store.python, cache)
    venv = [uv, "venv", "--no-project", "--allow-existing", "--quiet", f"--python={python}"]
    exit_code, reason = run([*venv, tree], environment)
    if exit_code and _BROKEN_PYTHON in reason:  # the first one on PATH; then it is to be one of uv's own
        exit_code, reason = run([*venv, "--managed-python", tree], environment)
    interpreter = os.path.join(tree, "bin", "python")
    file = os.environ.get(REQUIREMENTS_VARIABLE)
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


def uv_environment(base: "os._Environ[str]", python_dir: str, cache: str) -> "dict[str, str]":
    """What uv sees: the settings passed on, the store, and no virtual environment of anybody else."""
    kept = {k: v for k, v in base.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")}
    fixed = {"UV_PYTHON_INSTALL_DIR": python_dir, "UV_CACHE_DIR": cache, "UV_NO_PROGRESS": "1"}
    return {"UV_HTTP_RETRIES": "2", **kept, **fixed}


def run(command: "list[str]", environment: "dict[str, str]") -> "tuple[int, bytes]":
    """Run uv and pass its words on; return its exit code and, not yet passed on, what it says from an error on."""
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
    """Compile what runs will import, for they cannot. Sources that do not compile are none of our business."""
    # Its workers meet at a socket in TMPDIR, whose path may be too long for one in a process sandbox.
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


if __name__ == "__main__":
    sys.exit(main())
