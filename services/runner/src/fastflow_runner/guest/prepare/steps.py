"""Makes one environment, step by step, and starts the other steps. I/O; the package's docstring has the store's rules.

Standard library only.
"""

import argparse
import json
import os
import sys

from . import collect
from .access import Access, open_access
from .layout import Store
from .plain import is_plain_folder
from .tree import Recipe, make_tree, say

NEEDS_BUILD_EXIT_CODE = 75
"""Exit code of the step ``wheels``: some package has no wheel."""
INPUT_VARIABLE = "FASTFLOW_INPUT"
"""Names the file given to a step, if any: requirements beside those of the folder, or the keys in use."""
NO_INTERPRETER_EXIT_CODE = 76
"""Exit code: uv has no interpreter of this version, and cannot get one."""
MADE_WITH = "::python "
"""Begins the line with the version of the environment's interpreter, which is for the runner alone."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Make or remove environments of the store.")
    parser.add_argument("step", choices=("wheels", "build", "link", "list", "mark", "collect", "remove"))
    parser.add_argument("--store", required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--tree", default="", help="name of the tree to make or to link")
    parser.add_argument("--build-tree", default="", help="name of an empty tree to make if a build is needed")
    parser.add_argument("--python", default="", help="a version, or the path of an interpreter")
    parser.add_argument("--managed", action="store_true", help="take an interpreter of uv's own, or fail")
    parser.add_argument("--requirements", default="", help="the requirements file in the working directory")
    parser.add_argument("--project", action="store_true", help="install the project in the working directory first")
    parser.add_argument("--apart", action="store_true", help="install what is given last, changing nothing else")
    parser.add_argument("--owner", type=int, default=0, help="user id of the tree to link")
    parser.add_argument("--no-build", action="store_true", help="build nothing from source")
    parser.add_argument("--require-hashes", action="store_true", help="install only what has a hash")
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--budget-bytes", type=int, default=0, help="bytes that the store may use; 0 = no limit")
    parser.add_argument("--keep-s", type=float, default=0, help="what was used within this time is kept in any case")
    options = parser.parse_args()
    os.umask(0o022)
    store = Store(options.store)
    if options.step == "list":
        sys.stdout.write("".join(f"{key} {store.version(key)}\n" for key in store.environments()))
        return 0
    if options.step in ("mark", "collect", "remove"):
        return tidy(options, store)
    return make(options, store)


def tidy(options: argparse.Namespace, store: Store) -> int:
    """Run a step that makes nothing, and return its exit code."""
    os.nice(19)  # no run waits for these steps
    if options.step == "remove":
        collect.remove_own(store)
        return 0
    store.lay_out()
    for line in given().splitlines():
        key, idle_s = line.split()
        store.note_use(key, float(idle_s))
    if options.step == "collect":
        for collected in collect.collect(store, options.budget_bytes, options.keep_s):
            sys.stdout.write(f"{json.dumps(collected)}\n")
    return 0


def make(options: argparse.Namespace, store: Store) -> int:
    """Run a step of a preparation, and return its exit code."""
    access = open_access(build=options.step == "build")
    if options.step == "wheels":
        store.lay_out()
    if options.step == "build":
        store.begin_build()
    else:
        store.begin_work()
    if options.step == "link":
        store.check(options.tree, options.owner)
        store.link(options.key, options.tree)
        return 0
    exit_code = 0
    if options.step == "build":
        exit_code = make_one(options, store, access, build=True)
        version = store.tree_version(options.tree)
    else:
        if store.has(options.key):
            store.note_use(options.key, 0)
        else:
            exit_code = make_one(options, store, access, build=False)
            if exit_code == 0:
                store.link(options.key, options.tree)
            elif exit_code == NEEDS_BUILD_EXIT_CODE and options.build_tree:
                os.mkdir(store.tree(options.build_tree))
        version = store.version(options.key)
    if exit_code == 0:
        say(f"{MADE_WITH}{version}\n".encode())
    return exit_code


def make_one(options: argparse.Namespace, store: Store, access: Access, *, build: bool) -> int:
    """Make the tree that the options describe, and return the step's exit code."""
    recipe = Recipe(
        uv=options.uv,
        python=options.python,
        managed=options.managed,
        requirements=options.requirements,
        project=options.project,
        given=given_here(access),
        apart=options.apart,
        plain=not build and is_plain_folder(".", options.requirements, given(), project=options.project),
        build=build,
        strict={word for word, asked in (("no-build", options.no_build), ("hashes", options.require_hashes)) if asked},
        here=access.here,
        env=access.env,
    )
    made = make_tree(recipe, store, options.tree)
    if made == "no wheel":
        return NEEDS_BUILD_EXIT_CODE
    if made == "no interpreter":
        return NO_INTERPRETER_EXIT_CODE
    return 0 if made == "made" else 1


def given_here(access: Access) -> str:
    """Return the path of the file given to this step, with the addresses in it that lead to packages; or ""."""
    path = os.environ.get(INPUT_VARIABLE, "")
    if path and (text := access.here(given())) != given():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return path


def given() -> str:
    """Return the text of the file given to this step, or "" if there is none."""
    path = os.environ.get(INPUT_VARIABLE)
    if not path:
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
