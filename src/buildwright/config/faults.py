"""An exception of a configuration's code as one error: what, at which line of the user's files, and a hint.

The place is the innermost frame of the traceback that lies in the configuration's directory; frames of
libraries and of this program are not the user's business here. For names that don't exist, the nearest one
that does is the hint.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import linecache
import re
import sys
import traceback
from types import TracebackType
from typing import Any

from buildwright import plugins
from buildwright.model import arguments
from buildwright.model.absent import NAMESPACES
from buildwright.model.errors import ConfigError, ConfigErrors, suggest

_OF_CALL = re.compile(r"(?P<what>[\w.<>]+)\(\)(?= got | missing | takes )")
# Arguments of old versions of Buildbot, and what they are called now.
_RENAMED = {
    "category": "tags",
    "mergeRequests": "collapseRequests",
    "nextSlave": "nextWorker",
    "pollinterval": "pollInterval",
    "slavebuilddir": "workerbuilddir",
    "slavedest": "workerdest",
    "slavename": "workername",
    "slavenames": "workernames",
    "slavesrc": "workersrc",
    "slavesrcs": "workersrcs",
}
_UNEXPECTED = re.compile(r"got an unexpected keyword argument '(?P<name>\w+)'")


def as_errors(problem: BaseException, roots: tuple[str, ...], main: str) -> list[ConfigError]:
    """What to tell about an exception that ended the run of a configuration."""
    if isinstance(problem, ConfigErrors):
        return problem.errors
    if isinstance(problem, SyntaxError) and problem.filename is not None:
        return [_of_syntax(problem, roots, main)]
    file, line = _place(problem.__traceback__, roots)
    return [ConfigError(_message(problem), file or main, line, _hint(problem))]


def _place(trace: TracebackType | None, roots: tuple[str, ...]) -> tuple[str | None, int | None]:
    file: str | None = None
    line: int | None = None
    for frame, number in traceback.walk_tb(trace):
        name = frame.f_code.co_filename
        if name.startswith(roots):
            file, line = name, number
    return file, line


def _of_syntax(problem: SyntaxError, roots: tuple[str, ...], main: str) -> ConfigError:
    text = (problem.text or "").strip()
    message = f"{type(problem).__name__}: {problem.msg}" + (f": {text}" if text else "")
    hint = None
    importer, at = _place(problem.__traceback__, roots)
    if problem.filename != main and importer is not None:
        hint = f"imported at {importer}:{at}"
    return ConfigError(message, problem.filename, problem.lineno, hint)


def _message(problem: BaseException) -> str:
    if isinstance(problem, SystemExit):
        return f"the configuration asked the process to exit ({problem.code!r})"
    text = str(problem)
    name = type(problem).__name__
    if isinstance(problem, ImportError) and problem.path is not None:
        text = text.removesuffix(f" ({problem.path})")
    if isinstance(problem, TypeError) and (call := _OF_CALL.match(text)):
        what = _call(problem.__traceback__)[0] or call["what"].removesuffix(".__init__")
        text = f"{what}(){text[call.end() :]}"
    return f"{name}: {text}" if text else name


def _hint(problem: BaseException) -> str | None:
    if isinstance(problem, NameError) and problem.name is not None:
        return suggest(problem.name, _names_at(problem.__traceback__))
    if isinstance(problem, AttributeError) and problem.name is not None and problem.obj is not None:
        return getattr(problem, "hint", None) or suggest(problem.name, _public(problem.obj))
    if isinstance(problem, ModuleNotFoundError):
        return "is it installed in the environment of the master, or beside the configuration?"
    if isinstance(problem, ImportError) and problem.name is not None:
        wanted = re.match(r"cannot import name '(\w+)'", str(problem))
        module = sys.modules.get(problem.name)
        if wanted is not None and problem.name == plugins.__name__ and wanted.group(1) in NAMESPACES:
            return str(NAMESPACES[wanted.group(1)])
        if wanted is not None and module is not None:
            return suggest(wanted.group(1), _public(module))
    if isinstance(problem, TypeError) and (unexpected := _UNEXPECTED.search(str(problem))):
        return _near_parameter(unexpected["name"], _call(problem.__traceback__)[1])
    return None


def _public(holder: Any) -> list[str]:
    return [name for name in dir(holder) if not name.startswith("_")]


def _innermost(trace: TracebackType | None) -> TracebackType | None:
    """Where it was raised; a class's call counts as the place where it was called."""
    found = trace
    while trace is not None:
        if trace.tb_frame.f_code.co_filename != arguments.__file__:
            found = trace
        trace = trace.tb_next
    return found


def _names_at(trace: TracebackType | None) -> list[str]:
    trace = _innermost(trace)
    if trace is None:
        return []
    frame = trace.tb_frame
    return [*frame.f_locals, *frame.f_globals, *frame.f_builtins]


def _call(trace: TracebackType | None) -> tuple[str | None, Any]:
    """The call that raised before it reached any code: what it called, as it is written and as an object."""
    trace = _innermost(trace)
    if trace is None:
        return None, None
    frame = trace.tb_frame
    places = itertools.islice(frame.f_code.co_positions(), trace.tb_lasti // 2, None)
    line, end_line, start, end = next(places, (None, None, None, None))
    if line is None or end_line is None:
        return None, None
    lines = [
        linecache.getline(frame.f_code.co_filename, number).encode() for number in range(line, end_line + 1)
    ]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    try:
        tree = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except (SyntaxError, ValueError):
        return None, None
    if not isinstance(tree, ast.Call):
        return None, None
    written = ast.unparse(tree.func)
    return written, _named(written.split("."), {**frame.f_builtins, **frame.f_globals, **frame.f_locals})


def _named(parts: list[str], names: dict[str, Any]) -> Any:
    """What a dotted name stands for; None if it is no such name."""
    found = names.get(parts[0])
    for part in parts[1:]:
        found = getattr(found, part, None)
    return found


def _near_parameter(name: str, called: Any) -> str | None:
    """The parameter that may be meant, or all that there are."""
    functions = (
        [vars(each).get("__init__") for each in called.__mro__] if isinstance(called, type) else [called]
    )
    parameters: dict[str, None] = {}
    for function in functions:
        if function is None or function is object.__init__:
            continue
        try:
            found = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            continue
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters.update(
            (each.name, None) for each in found if each.kind not in kinds and each.name != "self"
        )
    if _RENAMED.get(name) in parameters:
        return f"it is {_RENAMED[name]!r} now"
    return suggest(name, parameters) or (f"it takes {', '.join(parameters)}" if parameters else None)
