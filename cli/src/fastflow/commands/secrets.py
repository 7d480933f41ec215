"""The commands about secrets: ``encrypt``, ``keys new`` and ``keys rotate``. No message contains a value."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from fastflow.errors import FAILED, OK, BadUsage, NoSuchThing
from fastflow.local import keyring
from fastflow.local.key_rotation import Rotated, Token, rotate
from fastflow.remote import logins
from fastflow.remote.session import FindTarget, api_options, ask
from fastflow.remote.target import URL_VARIABLE
from fastflow_api import Client
from fastflow_contracts.names import check_name
from fastflow_contracts.pipelines.folder.discovery import MANIFEST, NOTEBOOK, SCRIPT
from fastflow_contracts.pipelines.format.json_positions import BadJson
from fastflow_contracts.secrets.sealing import Sealer

_WORDS = {
    "rotated": "put under the first key",
    "bound": "put under the first key and bound to this place",
    "current": "is already under the first key",
    "unopened": "cannot be opened by any key",
    "elsewhere": "was not made for this place and does not open here",
    "no token": "is not a token",
}
_BAD = frozenset({"unopened", "elsewhere", "no token"})


@click.command()
@click.option("--pipeline", metavar="P", help="The only pipeline that may use it; needs --name.")
@click.option("--name", metavar="N", help="Its variable, or webhook.secret; needs --pipeline.")
@click.argument("value", required=False)
@api_options
@click.pass_context
def encrypt(
    context: click.Context, pipeline: str | None, name: str | None, value: str | None, target: FindTarget
) -> None:
    """Encrypt a secret for `encrypted_env` of a pipeline.json and print the token.

    Without VALUE, or with "-", it is read from standard input and stays out of your shell's history. With
    --pipeline and --name the token opens only there. The key is ENCRYPTION_KEY, or the one that `fastflow up`
    keeps in its data folder. Without a key here, or with --url or --on, the installation encrypts.
    """
    if bool(pipeline) != bool(name):
        raise BadUsage("--pipeline and --name belong together; give both, or neither for a token that opens anywhere.")
    place = (check_name(pipeline), name) if pipeline and name else None
    keys = () if _names_an_installation(context) else _keys()
    if keys:
        token = Sealer(",".join(keys)).seal(_value(value), place=place)
    else:
        secret = _value(value)

        async def work(client: Client) -> str:
            return await client.encrypt(secret, pipeline=pipeline, name=name)

        token = ask(target, work)
    click.echo(token)
    if place is None:
        click.echo("This token opens in any pipeline; --pipeline and --name bind it to one.", err=True)


@click.group()
def keys() -> None:
    """Create an encryption key, or put tokens under a new one."""


@keys.command(name="new")
def new_key() -> None:
    """Print a new key for ENCRYPTION_KEY. To rotate, put it before the old key, separated by a comma."""
    click.echo(keyring.new_key())


@keys.command(name="rotate")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only print what would change.")
@click.option("--bind", is_flag=True, help="Bind tokens that open anywhere to their place in the file.")
def rotate_keys(folder: Path, dry_run: bool, bind: bool) -> None:
    """Encrypt every token in DIR again, with the first key.

    That is the first key of ENCRYPTION_KEY. DIR is a pipeline's folder, or the folder above several. Only the tokens
    in the files change. Tokens that no key opens stay as they are, and the exit code is 1.
    """
    found = keyring.find_keys(os.environ, here=Path.cwd())
    files = [_rotated(file, found, bind=bind) for file in _metadata(folder)]
    for file in files:
        _report(file)
        if not dry_run and file.text != file.before:
            _replace(file.path, file.text)
    tokens = [token for file in files for token in file.tokens]
    changed = sum(file.text != file.before for file in files)
    done = sum(token.state in ("rotated", "bound") for token in tokens)
    verb = "would be changed" if dry_run else "changed"
    click.echo(f"{done} of {len(tokens)} tokens, {changed} of {len(files)} files {verb}.", err=True)
    bad = any(file.problem for file in files) or any(token.state in _BAD for token in tokens)
    raise SystemExit(FAILED if bad else OK)


def _names_an_installation(context: click.Context) -> bool:
    """Whether an option or the environment names an installation that encrypts."""
    return bool(os.environ.get(URL_VARIABLE)) or any(
        context.params.get(name) for name in ("url", "token", "on", "data_dir")
    )


def _keys() -> tuple[str, ...]:
    """The keys on this machine; none, if a stored login can be asked instead. Raises ``NoSuchThing``, ``BadKey``."""
    try:
        return keyring.find_keys(os.environ, here=Path.cwd())
    except NoSuchThing:
        if keyring.is_set(os.environ) or logins.DEFAULT not in logins.read():
            raise
        return ()


class _File(NamedTuple):
    path: Path
    before: str
    text: str
    tokens: tuple[Token, ...] = ()
    problem: str | None = None


def _value(given: str | None) -> str:
    if given not in (None, "-"):
        assert given is not None
        return given
    if sys.stdin.isatty() and given is None:
        return str(click.prompt("Value", hide_input=True, err=True))
    # A piped line means the line without its line break.
    return sys.stdin.read().removesuffix("\n")


def _metadata(folder: Path) -> list[Path]:
    """The metadata file of the pipeline *folder*, or those of every pipeline in it."""
    if not folder.is_dir():
        raise NoSuchThing(f"{folder} is not a folder; give a pipeline's folder, or the folder above several.")
    alone = any((folder / entry).is_file() for entry in (SCRIPT, NOTEBOOK, MANIFEST))
    candidates = [folder.resolve()] if alone else sorted(path for path in folder.iterdir() if path.is_dir())
    found = []
    for each in candidates:
        if not each.name.startswith("."):
            found += [each / file for file in (MANIFEST, f"{each.name}.json") if (each / file).is_file()][:1]
    return found


def _rotated(path: Path, found: tuple[str, ...], *, bind: bool) -> _File:
    try:
        before = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        return _File(path, "", "", problem=str(error))
    mark, text = ("\ufeff", before[1:]) if before.startswith("\ufeff") else ("", before)
    try:
        done: Rotated = rotate(text, found, pipeline=path.parent.name, bind=bind)
    except BadJson as error:
        return _File(path, before, before, problem=f"line {error.line}: it must be JSON: {error}")
    return _File(path, before, mark + done.text, done.tokens)


def _report(file: _File) -> None:
    for line in _lines(file):
        click.echo(line)


def _lines(file: _File) -> Iterator[str]:
    if file.problem:
        yield f"{file.path}: {click.style(file.problem, fg='red')}"
    for token in file.tokens:
        words = _WORDS[token.state]
        if token.state in _BAD:
            words = click.style(words, fg="red")
        elif not token.is_bound:
            words += ", and opens in any pipeline (--bind binds it)"
        yield f"{file.path}:{token.line}: {token.field} {words}"


def _replace(path: Path, text: str) -> None:
    """Replace the file atomically and keep its mode."""
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_bytes(text.encode())
        beside.chmod(stat.S_IMODE(target.stat().st_mode))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
