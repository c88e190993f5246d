"""What constructors say of their arguments, held against what a configuration gives them.

A constructor's annotations say which types it takes. Classes of the metaclass :class:`Checked` are asked for
as any other; where an argument is of none of its types, the constructor's own error counts if it reports one
that names the argument, else there is one made from the annotation. A constructor that would break over the
argument is run again without it, so that one load still tells everything.

The check is generous: renderables pass everywhere, any number where there may be a number, anything iterable
where there may be a list. An annotation with a name that it doesn't know is no promise at all.
"""

from __future__ import annotations

import abc
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from buildwright.model.errors import Collector, ConfigErrors, current_collector, error, right_type, shown

_LISTS = ("Sequence", "Iterable", "Collection", "list", "tuple", "set", "frozenset")
_DICTS = ("Mapping", "dict")


class Check(NamedTuple):
    """What a value may be, and in words."""

    types: tuple[type, ...]
    wanted: str
    iterable: bool = False
    function: bool = False
    mapping: bool = False

    def hint(self, value: Any) -> str:
        """What to write instead of a value that doesn't fit."""
        return right_type(value, (*self.types, list) if self.iterable else self.types, self.wanted)

    def fits(self, value: Any) -> bool:
        if isinstance(value, self.types) or hasattr(type(value), "getRenderingFor"):
            return True
        return (
            (self.iterable and hasattr(type(value), "__iter__"))
            or (self.function and callable(value))
            or (self.mapping and hasattr(type(value), "items"))
        )


@functools.cache
def parse(annotation: str) -> Check | None:
    """The check that an annotation stands for; None if it says nothing that can be checked."""
    types: list[type] = []
    words: list[str] = []
    iterable = function = mapping = False
    for part in _alternatives(annotation):
        name = part.partition("[")[0]
        if name == "None":
            types.append(type(None))
            continue
        if name == "IRenderable":
            continue
        if name in ("int", "float"):
            types += [int, float]
            words.append("a number")
        elif name == "bool":
            types += [int, type(None)]
            words.append("True or False")
        elif name == "str":
            types += [str, os.PathLike]
            words.append("text")
        elif name == "bytes":
            types.append(bytes)
            words.append("bytes")
        elif name in _LISTS:
            iterable = True
            words.append("a list")
        elif name in _DICTS:
            mapping = True
            words.append("a dict")
        elif name == "Callable":
            function = True
            words.append("a function")
        else:
            return None
    if not words:
        return None
    if type(None) in types and "True or False" not in words:
        words.append("None")
    *first, last = dict.fromkeys(words)
    wanted = f"{', '.join(first)} or {last}" if first else last
    return Check(tuple(types), wanted, iterable, function, mapping)


def _alternatives(annotation: str) -> Iterator[str]:
    """The parts between the ``|`` that are in no brackets."""
    depth, start = 0, 0
    for at, sign in enumerate(annotation):
        depth += (sign == "[") - (sign == "]")
        if sign == "|" and depth == 0:
            yield annotation[start:at].strip()
            start = at + 1
    yield annotation[start:].strip()


def expect_fit(value: Any, annotation: str, what: str) -> bool:
    """Report a value that isn't what an annotation says, and whether it is."""
    check = parse(annotation)
    if check is None or check.fits(value):
        return True
    error(f"{what} must be {check.wanted}, not {shown(value)}", check.hint(value))
    return False


class Parameter(NamedTuple):
    """A parameter of a constructor that can be checked."""

    check: Check
    default: Any  # `inspect.Parameter.empty` if there is none


@functools.cache
def parameters(cls: type) -> tuple[Mapping[str, Parameter], tuple[str, ...]]:
    """What can be checked of a class's constructor, its bases' arguments among it, and the names of those
    given by position. A class with a constructor of the user's own has nothing that could be checked here.
    """
    found: dict[str, Parameter] = {}
    names: set[str] = set()
    positions: tuple[str, ...] | None = None
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None or base is object:
            continue
        if not base.__module__.startswith("buildwright."):
            return {}, ()
        given = list(inspect.signature(init).parameters.values())[1:]
        if positions is None:
            positions = tuple(each.name for each in given if each.kind is each.POSITIONAL_OR_KEYWORD)
        for each in given:
            check = parse(each.annotation) if isinstance(each.annotation, str) else None
            if each.name not in names and check is not None:
                if each.default is None:
                    check = check._replace(types=(*check.types, type(None)))
                found[each.name] = Parameter(check, each.default)
            names.add(each.name)
        if not any(each.kind is each.VAR_KEYWORD for each in given):
            break
    return found, positions or ()


class Checked(abc.ABCMeta):
    """The metaclass of what a configuration constructs."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        known, positions = parameters(cls)
        given = dict(zip(positions, args, strict=False)) | kwargs if args else kwargs
        wrong = [name for name, value in given.items() if name in known and not known[name].check.fits(value)]
        if not wrong:
            return super().__call__(*args, **kwargs)
        return _make_all_the_same(cls, super().__call__, args, kwargs, given, wrong)


def _make_all_the_same(
    cls: type,
    make: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    given: Mapping[str, Any],
    wrong: list[str],
) -> Any:
    known, positions = parameters(cls)
    collector: Collector | None = current_collector()
    before = len(collector.errors) if collector is not None else 0
    made = None
    try:
        made = make(*args, **kwargs)
    except ConfigErrors:
        raise
    except Exception:
        if collector is not None:
            del collector.errors[before:]
    said = [each.message for each in collector.errors[before:]] if collector is not None else []
    what = f"{cls.__name__} {given['name']!r}" if isinstance(given.get("name"), str) else cls.__name__
    for name in wrong:
        if not any(re.search(rf"\b{name}\b", message) for message in said):
            check = known[name].check
            value = given[name]
            error(f"{what}: {name} must be {check.wanted}, not {shown(value)}", check.hint(value))
    if made is not None:
        return made
    good = {name: value for name, value in given.items() if name not in wrong}
    good |= {
        name: _nothing(known[name].check) for name in wrong if known[name].default is inspect.Parameter.empty
    }
    return make(*args[len(positions) :], **good)


def _nothing(check: Check) -> Any:
    """A value that a constructor can go on with."""
    if check.iterable:
        return []
    if check.mapping:
        return {}
    if str in check.types:
        return ""
    return 0 if int in check.types else None
