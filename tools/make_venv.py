"""Create the virtual environment that the Makefile installs into. Standard library only; any Python 3 can run it.

Debian ships ``ensurepip`` in a separate package, ``python3-venv``. Without it, pip comes from the wheel in
``python3-pip-whl``, which ``python3-venv`` would use too: from the system if it is installed, otherwise downloaded by
``apt-get``. That needs no root, and apt checks the package against the signed lists of the configured archive.

Usage: ``python3 tools/make_venv.py DIRECTORY``
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

OLDEST = (3, 11)
NAMES = ("python3.14", "python3.13", "python3.12", "python3.11")
SYSTEM_WHEELS = "/usr/share/python-wheels"
PACKAGE = "python3-pip-whl"
INSTALL = "Install Debian's package python3-venv (as root: apt-get install python3-venv), and run make again."


class Failed(Exception):
    """The environment could not be created; the message says what to do."""


def main():
    if sys.version_info < OLDEST:
        newer = next((name for name in NAMES if shutil.which(name)), None)
        choice = f"run: make PYTHON={newer}" if newer else "install one and name it: make PYTHON=python3.12"
        raise Failed(f"Python 3.11 or newer is needed, and {sys.executable} is {sys.version.split()[0]}; {choice}")
    (directory,) = sys.argv[1:]
    python = os.path.join(directory, "bin", "python")
    if works(python):
        return
    if has_module("ensurepip"):
        create(directory, with_pip=True)
    else:
        create(directory, with_pip=False)
        with tempfile.TemporaryDirectory() as scratch:
            install_pip(python, find_wheel(scratch))


def works(python):
    """Whether the environment is complete. Its interpreter is gone after an upgrade of the system."""
    try:
        command = [python, "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def has_module(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def create(directory, with_pip):
    if not has_module("venv"):
        raise Failed(f"{sys.executable} has no module venv. {INSTALL}")
    import venv

    try:
        venv.EnvBuilder(clear=True, symlinks=True, with_pip=with_pip).create(directory)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"{directory} could not be created: {error}.") from None


def find_wheel(scratch):
    """Return the path of a wheel of pip."""
    found = glob.glob(f"{SYSTEM_WHEELS}/pip-*.whl")
    if not found:
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            raise Failed(f"{sys.executable} has no module ensurepip; install it, then run make again.")
        download(scratch)
        found = glob.glob(f"{scratch}{SYSTEM_WHEELS}/pip-*.whl")
    if not found:
        raise Failed(f"{sys.executable} has no module ensurepip, and {PACKAGE} holds no pip. {INSTALL}")
    return found[0]


def download(scratch):
    """Unpack ``PACKAGE`` into *scratch*, using the system's package lists, or fresh ones if it has none."""
    own = [f"-oDir::State={scratch}/state", f"-oDir::Cache={scratch}/cache", "-oDebug::NoLocking=1"]
    os.makedirs(f"{scratch}/state/lists/partial")
    os.makedirs(f"{scratch}/cache/archives/partial")
    said = ""
    for steps in ([["download", PACKAGE]], [[*own, "update"], [*own, "download", PACKAGE]]):
        for step in steps:
            done = subprocess.run(["apt-get", "-qq", *step], cwd=scratch, stderr=subprocess.PIPE, check=False)
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            said = lines[0] if lines else f"apt-get ended with {done.returncode}"
            if done.returncode or any(line.startswith("W: Failed") for line in lines):
                break
        for package in glob.glob(f"{scratch}/{PACKAGE}_*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, scratch], check=True)
            return
    raise Failed(f"{sys.executable} has no module ensurepip, and pip could not be downloaded ({said}). {INSTALL}")


def install_pip(python, wheel):
    """Let pip install itself from its own wheel."""
    command = [python, os.path.join(wheel, "pip"), "install", "--quiet", "--no-index", "--no-deps", wheel]
    if subprocess.run(command, check=False).returncode:
        raise Failed(f"pip could not be installed from {wheel}. {INSTALL}")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(str(failed))
