"""What a notebook's shell does here: ``exit`` ends the notebook, a cell that installs packages fails, and the value of
a cell becomes the result of the run.

The kernel loads this file; it needs IPython, and nothing of ours.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import shlex
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from IPython.core.autocall import ZMQExitAutocall

INSTALLERS = ("pip", "uv", "conda", "mamba", "micromamba")
RESULT_BYTES_MAX = 64 * 1024
"""Of the JSON of a result. This and the next two are those of a script's result file."""
DEPTH_MAX = 64
DIGITS_MAX = 300
_VALUED = frozenset(
    {"-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "-t", "--target"}
)
"""Options whose value follows them."""
_COMMAND = re.compile(r"\s*(?:\S+\s+-m\s+)?(?:\S*/)?(?:pip[\d.]*|uv\s+pip)\s+(install\b.*)", re.DOTALL)
_REST_OF_COMMAND = re.compile(r"\s(?:\d?>|\||&|;).*", re.DOTALL)


class NotInstalled(Exception):
    """A cell wants packages that the pipeline's environment does not have."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Exit(ZMQExitAutocall):
    """``exit`` and ``quit``: raise what ``sys.exit`` raises, and the cell runner ends the notebook."""

    def __call__(self, code: Any = None, keep_kernel: bool = False) -> None:  # type: ignore[override]
        raise SystemExit(code)


def adapt(shell: Any) -> None:
    """Change the shell of a kernel."""
    shell.exiter = Exit(shell)  # type: ignore[no-untyped-call]
    for names in (shell.user_ns, shell.user_ns_hidden):
        names["exit"] = names["quit"] = shell.exiter
    warnings.filterwarnings("ignore", "To exit: use", UserWarning)  # said about every SystemExit
    for name in INSTALLERS:
        shell.register_magic_function(_installer(name, shell.find_line_magic(name)), "line", name)
    shell.ast_transformers.append(_Installs())
    value = CellValue()
    shell.events.register("post_run_cell", value.remember)
    shell.keep_result = value.keep


class CellValue:
    """The value of the last expression of the newest cell."""

    def __init__(self) -> None:
        self._value: Any = None

    def remember(self, executed: Any) -> None:
        """Take the value of an executed cell; None: it has none."""
        self._value = executed.result

    def keep(self) -> str | None:
        """Write the value to the run's result file as JSON.

        Returns:
            What is wrong with it; empty: nothing. None: there is no value.
        """
        if self._value is None:
            return None
        try:
            text = json.dumps(self._value, default=_plain, ensure_ascii=False)
            _check(text)
            Path(os.environ["FASTFLOW_RESULT_FILE"]).write_text(text, encoding="utf-8")
        except NoResult as error:
            return str(error)
        except Exception as error:  # whatever the value's own methods raise
            return f"{type(error).__name__}: {error}"
        return ""


class NoResult(ValueError):
    """The value has a form in JSON, but a result is stricter. The message says why."""


def _check(text: str) -> None:
    """Check the JSON of a value by the rules that the runner has for a result file. Raises ``NoResult``."""
    if (size := len(text.encode())) > RESULT_BYTES_MAX:
        raise NoResult(
            f"it has {size:,} bytes as JSON; at most {RESULT_BYTES_MAX:,} are accepted. Keep large data outside, and "
            "let the result say where"
        )
    value = json.loads(text, parse_constant=_constant, parse_int=_whole, object_pairs_hook=_members)
    level, depth = [value], 0
    while level := [each for value in level if isinstance(value, (list, dict)) for each in _inside(value)]:
        depth += 1
        if depth > DEPTH_MAX:
            raise NoResult(f"its lists and objects are more than {DEPTH_MAX} deep; write it flatter")


def _constant(word: str) -> None:
    raise NoResult(f"it holds {word}, which has no form in JSON; put None in its place")


def _whole(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise NoResult(f"it holds a number of {len(digits):,} digits; make it a text")
    return int(digits)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NoResult("two keys of a dict are the same as texts, such as 1 and '1'; rename one")
    return found


def _inside(value: list[Any] | dict[str, Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _plain(value: Any) -> Any:
    """Return what stands in JSON for a value of no JSON type: frames become lists of objects."""
    if hasattr(value, "to_json") and hasattr(value, "columns"):  # of pandas
        return json.loads(value.to_json(orient="records", date_format="iso"))
    if isinstance(value, (set, frozenset)):
        return list(value)
    for name in ("to_dicts", "tolist", "isoformat"):  # of polars, of NumPy, of dates
        if callable(method := getattr(value, name, None)):
            return method()
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


def install(words: list[str]) -> None:
    """Check that what would be installed is there. Raises ``NotInstalled``."""
    missing = [text for text in _wanted(words) if not _is_there(text)]
    if missing:
        raise NotInstalled(f"a run installs no packages; name {', '.join(missing)} in requirements.txt")
    print("Everything is there already: a run has the packages of requirements.txt.")  # noqa: T201 - the cell's output


def _installer(name: str, original: Callable[[str], Any] | None) -> Callable[[str], Any]:
    """Return a magic that installs nothing and passes everything else on."""

    def magic(line: str) -> Any:
        words = shlex.split(line)
        if words[:2] == ["pip", "install"]:  # uv's
            words = words[1:]
        if words[:1] in (["install"], ["add"]):
            return install(words[1:])
        if original is None:
            raise NotInstalled(f"%{name} is not available here; use requirements.txt")
        return original(line)

    return magic


class _Installs(ast.NodeTransformer):
    """Makes ``!pip install`` the magic ``%pip install``. It sees the code that IPython makes of ``!``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Call(func=ast.Name(id="get_ipython")), attr="system" | "getoutput"
                ) as func,
                args=[ast.Constant(value=str(command))],
            ) if found := _COMMAND.fullmatch(command):
                line = _REST_OF_COMMAND.sub("", found[1])
                method = ast.Attribute(value=func.value, attr="run_line_magic", ctx=ast.Load())
                call = ast.Call(func=method, args=[ast.Constant("pip"), ast.Constant(line)], keywords=[])
                return ast.fix_missing_locations(ast.copy_location(call, node))
        return node


def _wanted(words: list[str]) -> Iterator[str]:
    """Return the requirements among the words of a command, with those of the files that it names."""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name in ("-r", "--requirement"):
            yield from _in_file(value if equals else next(rest, ""))
        elif name in _VALUED and not equals:
            next(rest, None)
        elif not word.startswith("-"):
            yield word


def _in_file(path: str) -> Iterator[str]:
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        yield path
        return
    for line in text.replace("\\\n", " ").splitlines():
        requirement = re.split(r"(?:^|\s)#|\s--", line)[0].strip()
        if requirement and not requirement.startswith("-"):
            yield requirement


def _is_there(text: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement  # ipykernel needs it too

    try:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            return True
        return wanted.url is None and wanted.specifier.contains(
            importlib.metadata.version(wanted.name), prereleases=True
        )
    except (InvalidRequirement, importlib.metadata.PackageNotFoundError):
        return False
