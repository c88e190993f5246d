"""An exception of a configuration's code as one error: what, at which line of the user's files, and a hint.

The place is the innermost frame of the traceback that lies in the configuration's directory; frames of
libraries and of this program are not the user's business here. For names that don't exist, the nearest one
that does is the hint.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from buildwright.model.errors import ConfigError, ConfigErrors, suggest

_UNEXPECTED = re.compile(r"(?P<what>\S+)\(\) got an unexpected keyword argument '(?P<name>\w+)'")
_MISSING = re.compile(
    r"(?P<what>\S+)\.__init__\(\) missing \d+ required (?:positional|keyword-only) arguments?: (?P<names>.*)"
)


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
    if isinstance(problem, TypeError):
        text = text.replace(".__init__()", "()")
    return f"{name}: {text}" if text else name


def _hint(problem: BaseException) -> str | None:
    if isinstance(problem, NameError) and problem.name is not None:
        return suggest(problem.name, _names_at(problem.__traceback__))
    if isinstance(problem, AttributeError) and problem.name is not None and problem.obj is not None:
        return getattr(problem, "hint", None) or suggest(problem.name, _public(problem.obj))
    if isinstance(problem, ModuleNotFoundError):
        return "is it installed in the environment of the master, or beside the configuration?"
    if isinstance(problem, ImportError) and problem.name is not None:
        import sys

        wanted = re.match(r"cannot import name '(\w+)'", str(problem))
        module = sys.modules.get(problem.name)
        if wanted is not None and module is not None:
            return suggest(wanted.group(1), _public(module))
    if isinstance(problem, TypeError):
        return _hint_of_call(problem)
    return None


def _public(holder: Any) -> Iterable[str]:
    return [name for name in dir(holder) if not name.startswith("_")]


def _names_at(trace: TracebackType | None) -> Iterable[str]:
    frame = None
    for each, _ in traceback.walk_tb(trace):
        frame = each
    if frame is None:
        return ()
    return [*frame.f_locals, *frame.f_globals, *frame.f_builtins]


def _hint_of_call(problem: TypeError) -> str | None:
    """The nearest parameter's name, if the class or function that was called can be found from where it was
    called.
    """
    unexpected = _UNEXPECTED.match(str(problem))
    if unexpected is None:
        return None
    called = _called(unexpected["what"].removesuffix(".__init__").rpartition(".")[2], problem.__traceback__)
    if called is None:
        return None
    import inspect

    try:
        parameters: list[str] = []
        for each in inspect.getmro(called) if isinstance(called, type) else (called,):
            function = vars(each).get("__init__") if isinstance(each, type) else each
            if function is not None and function is not object.__init__:
                parameters += [
                    name
                    for name, parameter in inspect.signature(function).parameters.items()
                    if name != "self"
                    and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                ]
    except (TypeError, ValueError):
        return None
    near = suggest(unexpected["name"], parameters)
    return near or (f"it takes {', '.join(dict.fromkeys(parameters))}" if parameters else None)


def _called(name: str, trace: TracebackType | None) -> Any:
    from buildwright import plugins

    frame = None
    for each, _ in traceback.walk_tb(trace):
        frame = each
    found = None if frame is None else {**frame.f_globals, **frame.f_locals}.get(name)
    return found if callable(found) else plugins.lookup(name)
