"""Fingerprints: what tells a part of a configuration from a changed one.

Two processes that load the same files get the same fingerprint, so nothing of a process is in it: no
addresses, no order of sets, no line numbers. A value is described by its content; one of our own classes by
its name and what it was given; a function or a class of the user's by its name and its compiled code, with
what it closes over and its defaults. What such code reads from elsewhere (globals, files) is not in it:
replaying a journal notices that by itself.

Compiled code differs between Python versions. A master that goes on with builds under another Python
therefore ends those whose remaining steps hold code of the user's as "configuration changed", the safe side.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
import re
import types
import weakref
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

from buildwright.model.errors import Where

_OURS = ("buildwright.", "buildwright_worker.")
_PLAIN = frozenset({str, int, float, bool, bytes, type(None), complex})
_BY_REPR = (dt.date, dt.timedelta, dt.time, Decimal, Fraction, range)
_NOT_CONTENT = frozenset(
    {
        "__abstractmethods__",
        "__annotations__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__module__",
        "__qualname__",
        "__slots__",
        "__static_attributes__",
        "__weakref__",
        "_abc_impl",
    }
)
_classes: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()


def digest(value: Any) -> str:
    """The fingerprint of a value: 32 hexadecimal digits."""
    return blake2b(describe(value).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def describe(value: Any) -> str:
    """A value as text that depends on its content alone."""
    return _describe(value, ())


def _describe(value: Any, path: tuple[int, ...]) -> str:
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if isinstance(value, type):
        return _class(value)
    if kind is Where:
        return ""
    if id(value) in path:
        return "<itself>"
    inner = (*path, id(value))
    if kind is list or kind is tuple:
        return f"{kind.__name__}({','.join([_describe(item, inner) for item in value])})"
    if kind is dict:
        return _mapping(value, inner)
    if kind is set or kind is frozenset:
        return f"set({','.join(sorted(_describe(item, inner) for item in value))})"
    special = _special(value, inner)
    return _object(value, inner) if special is None else special


def _mapping(value: dict[Any, Any], path: tuple[int, ...]) -> str:
    pairs = sorted([f"{_describe(key, path)}:{_describe(item, path)}" for key, item in value.items()])
    return f"dict({','.join(pairs)})"


def _special(value: Any, path: tuple[int, ...]) -> str | None:
    """What is neither plain data nor an object with attributes."""
    if isinstance(value, types.FunctionType):
        return _function(value, path)
    if isinstance(value, types.MethodType):
        return f"method({_describe(value.__func__, path)},{_describe(value.__self__, path)})"
    if isinstance(value, (types.BuiltinFunctionType, types.ModuleType)):
        return f"{type(value).__name__}({getattr(value, '__module__', None)}.{value.__name__})"
    if isinstance(value, functools.partial):
        return f"partial({_describe([value.func, list(value.args), value.keywords], path)})"
    if isinstance(value, re.Pattern):
        return f"re({value.pattern!r},{value.flags})"
    if isinstance(value, enum.Enum):
        return f"{_class(type(value))}.{value.name}"
    if isinstance(value, PurePath):
        return f"path({str(value)!r})"
    if isinstance(value, _BY_REPR):
        return repr(value)
    if isinstance(value, (staticmethod, classmethod)):
        return f"{type(value).__name__}({_describe(value.__func__, path)})"
    if isinstance(value, property):
        return f"property({_describe([value.fget, value.fset, value.fdel], path)})"
    return None


def _function(value: types.FunctionType, path: tuple[int, ...]) -> str:
    parts = [f"{value.__module__}.{value.__qualname__}"]
    if not value.__module__ or not value.__module__.startswith(_OURS):
        parts.append(_code(value.__code__))
    if value.__defaults__ or value.__kwdefaults__:
        parts.append(_describe([value.__defaults__, value.__kwdefaults__], path))
    for cell in value.__closure__ or ():
        try:
            parts.append(_describe(cell.cell_contents, path))
        except ValueError:  # a cell that is not filled yet
            parts.append("empty")
    return f"function({','.join(parts)})"


def _code(code: types.CodeType) -> str:
    constants = [
        _code(constant) if isinstance(constant, types.CodeType) else describe(constant)
        for constant in code.co_consts
    ]
    text = repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags, constants))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _class(cls: type) -> str:
    if (known := _classes.get(cls)) is not None:
        return known
    name = f"{cls.__module__}.{cls.__qualname__}"
    _classes[cls] = name  # what its own methods say of it
    parts = [name]
    for base in cls.__mro__:
        if base.__module__ == "builtins" or f"{base.__module__}.".startswith(_OURS):
            break
        content = {key: item for key, item in vars(base).items() if key not in _NOT_CONTENT}
        parts.append(blake2b(describe(content).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest())
    _classes[cls] = ":".join(parts)
    return _classes[cls]


def _object(value: Any, path: tuple[int, ...]) -> str:
    cls = type(value)
    ours = f"{cls.__module__}.".startswith(_OURS)
    state: dict[str, Any] = dict(getattr(value, "__dict__", {}))
    for base in cls.__mro__:
        slots = vars(base).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, slot):
                state[slot] = getattr(value, slot)
    # Our own private attributes are made from the public ones, or must not be here: secrets' values.
    if ours:
        state = {name: item for name, item in state.items() if not name.startswith("_")}
    if isinstance(value, dict):
        state["<items>"] = dict(value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        state["<items>"] = list(value) if isinstance(value, (list, tuple)) else set(value)
    elif isinstance(value, (str, int, float, bytes)):
        state["<value>"] = _base_value(value)
    return f"{_class(cls)}{_mapping(state, path)}"


def _base_value(value: Any) -> Any:
    """The plain value in an instance of a subclass of str, bytes, int or float."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    return int.__index__(value) if isinstance(value, int) else float.__float__(value)
