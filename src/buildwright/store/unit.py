"""Units of work: the only way anything is written to the store.

A unit is a generator function marked with :func:`unit`. It yields :class:`Bound` statements and receives
their rows (a list of tuples), yields :class:`Hint` to announce a change, and returns its result::

    @unit
    def pause_worker(workerid: int) -> Work[bool]:
        rows = yield PAUSE(id=workerid)
        yield Hint("workers", workerid)
        return bool(rows)

    paused = await store.run(pause_worker(7))

What a driver promises:

- everything a unit yields happens in one transaction, or not at all;
- no result and no hint leaves before the commit;
- a unit may be run again from its beginning (a serialization failure, a lost transaction, an unknown
  outcome of a commit), so it decides everything inside itself, from its arguments and what it reads, and
  touches nothing outside.

A unit refuses by raising: the exception undoes the unit and reaches the caller as it is. :class:`Fenced` is
the one refusal that every unit of the engine shares: the caller no longer owns what it writes to.

Statements are written once in SQLAlchemy Core and compiled once per dialect. Columns hold integers, text
and bytes only, so no type processor stands between the drivers and the rows. Text is bound so that every
database takes it (:mod:`buildwright.model.text`), wherever it comes from.

A round trip to PostgreSQL costs more than most statements, and a transaction is two of them. So the units of
a build's usual way begin with a :class:`Shortcut`: one statement that does all that the unit does, or
nothing. It decides by the same conditions as the steps that follow it, and takes its rows in the same order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy.sql import visitors
from sqlalchemy.sql.base import Executable

from buildwright.model.text import storable

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
P = ParamSpec("P")

Row = tuple[Any, ...]
Rows = Sequence[Row]


_encode = msgspec.json.encode  # json.dumps makes an encoder for every call


class Fenced(Exception):
    """The writer is no longer the owner: its attachment, lease or attempt has been taken over. Drop the
    work quietly.
    """


class Hint(NamedTuple):
    """What changed, told to the bus after the commit: a resource's kind (plural), its id and the event's
    name.
    """

    kind: str
    id: int
    event: str = "update"


SQLITE = "sqlite"
POSTGRESQL = "postgresql"


@functools.cache
def dialect_of(name: str) -> sa.engine.Dialect:
    """SQLAlchemy's dialect, with placeholders as our drivers take them; a master loads the one it uses."""
    if name == SQLITE:
        from sqlalchemy.dialects import sqlite

        return sqlite.dialect(paramstyle="qmark")
    from sqlalchemy.dialects import postgresql

    return postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement as a driver runs it: text, and how a mapping of parameters becomes its positional
    arguments.
    """

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]
    json_sets: frozenset[str]
    texts: tuple[int, ...]
    """The positions of what may be text: parameters of text, sets of it, and those of an unknown type."""

    def arguments(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        """The positional arguments; raises KeyError for one that is missing."""
        constants, sets = self.constants, self.json_sets
        if constants:
            values = [params[name] if name in params else constants[name] for name in self.names]
        else:
            values = [params[name] for name in self.names]
        for place in self.texts:
            value = values[place]
            if isinstance(value, str):
                values[place] = storable(value)
            elif isinstance(value, (list, tuple)):
                values[place] = [storable(each) if isinstance(each, str) else each for each in value]
        if sets:
            for place, name in enumerate(self.names):
                if name in sets:
                    values[place] = _encode(list(values[place])).decode()
        return tuple(values)


class Statement:
    """A named statement, compiled at its first use on each dialect.

    ``build`` gets the dialect's name and returns the Core construct, which lives only until it is compiled.
    Names of parameters that carry a set of ids (made with :func:`in_set`) are found by their marker in the
    parameter's name.
    """

    __slots__ = ("_build", "_compiled", "name")

    def __init__(self, name: str, build: Callable[[str], Executable]) -> None:
        self.name = name
        self._build = build
        self._compiled: dict[str, Compiled] = {}

    def __call__(self, **params: Any) -> Bound:
        return Bound(self, params)

    def many(self, params: Iterable[Mapping[str, Any]]) -> Many:
        """The same statement for several sets of parameters; gives no rows."""
        return Many(self, list(params))

    def compiled(self, dialect: str) -> Compiled:
        found = self._compiled.get(dialect)
        if found is None:
            found = self._compiled[dialect] = _compile(self._build(dialect), dialect)
        return found

    def __repr__(self) -> str:
        return f"<Statement {self.name}>"


class Shortcut(Statement):
    """A statement that does all of a unit's work and gives rows, or changes nothing and gives none.

    After rows its unit yields hints alone; without them it goes on step by step, as on SQLite, where a step
    is no round trip, no statement writes to several tables, and so none ever gives rows here.

    ``build`` makes it of PostgreSQL's parts that write (``WITH ... AS (UPDATE ...)``). These see the rows as
    they were when the statement began, whatever the others of them do, and one runs after another only if
    it reads what that one gives: so each names the one before it, which is the order of the locks, and no
    row is written by two. What is decided about a row is a condition of the part that locks it: a row that
    was changed meanwhile is looked at anew. All that can refuse stands before the first part that writes.
    """

    __slots__ = ()

    def __init__(self, name: str, build: Callable[[], Executable]) -> None:
        super().__init__(name, lambda dialect: build() if dialect == POSTGRESQL else _NEVER)


_NEVER: sa.Select[Any] = sa.select(sa.literal_column("1")).where(
    sa.literal_column("0") == sa.literal_column("1")
)


class AdHoc(Statement):
    """A statement that was built for one call, with its values inside; ``in_()`` with a list is fine."""

    __slots__ = ()

    def __init__(self, core: Executable) -> None:
        super().__init__("fetch", lambda _dialect: core)

    def compiled(self, dialect: str) -> Compiled:
        return _compile(self._build(dialect), dialect, ad_hoc=True)


class Bound(NamedTuple):
    """A statement with its parameters, ready to be yielded."""

    statement: Statement
    params: Mapping[str, Any]


class Many(NamedTuple):
    """A statement with several sets of parameters."""

    statement: Statement
    params: list[Mapping[str, Any]]


Request = Bound | Many | Hint
Work = Generator[Request, Any, R]


class Unit(Generic[R_co]):
    """A unit of work with its arguments; :meth:`start` gives a fresh generator for every run of it."""

    __slots__ = ("_args", "_function", "_kwargs", "name", "shortcut", "single")

    def __init__(
        self,
        name: str,
        function: Callable[..., Work[R_co]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        single: bool = False,
        shortcut: bool = False,
    ) -> None:
        self.name = name
        self.single = single
        self.shortcut = shortcut
        self._function = function
        self._args = args
        self._kwargs = kwargs

    def start(self) -> Work[R_co]:
        return self._function(*self._args, **self._kwargs)

    def __repr__(self) -> str:
        return f"<Unit {self.name}>"


def unit(function: Callable[P, Work[R]]) -> Callable[P, Unit[R]]:
    """Mark a generator function as a unit of work: calling it gives a :class:`Unit` for ``store.run``.

    Inside another unit, call ``other.work(...)`` to run it as a part (``yield from``).
    """

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Unit[R]:
        return Unit(function.__name__.strip("_"), function, args, kwargs)

    return make


def single(function: Callable[P, Work[R]]) -> Callable[P, Unit[R]]:
    """As :func:`unit`, for one that yields one statement: that is a transaction by itself, so PostgreSQL need
    not be told of its begin and end. What it wants to refuse it refuses before its statement; a second one is
    a TypeError.
    """
    name = function.__name__.strip("_")

    def work(*args: P.args, **kwargs: P.kwargs) -> Work[R]:
        generator = function(*args, **kwargs)
        statements, answer = 0, None
        while True:
            try:
                request = generator.send(answer)
            except StopIteration as end:
                return cast("R", end.value)
            statements += not isinstance(request, Hint)
            if statements > 1:
                raise TypeError(f"unit {name} is marked as single, and yields a second statement")
            answer = yield request

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Unit[R]:
        return Unit(name, work, args, kwargs, single=True)

    return make


def shortcut(function: Callable[P, Work[R]]) -> Callable[P, Unit[R]]:
    """As :func:`unit`, for one whose first statement may be a :class:`Shortcut`: if that gives rows, it is
    committed by itself, and another statement is a TypeError.
    """

    @functools.wraps(function)
    def make(*args: P.args, **kwargs: P.kwargs) -> Unit[R]:
        return Unit(function.__name__.strip("_"), function, args, kwargs, shortcut=True)

    return make


def in_set(column: sa.ColumnElement[Any], name: str) -> Callable[[str], sa.ColumnElement[bool]]:
    """A condition ``column in <the list bound to name>`` whose text doesn't depend on the list's length.

    Gives a function of the dialect: PostgreSQL compares with an array, SQLite reads a JSON array.
    """
    key = _SET + name

    def build(dialect: str) -> sa.ColumnElement[bool]:
        if dialect == POSTGRESQL:
            from sqlalchemy.dialects import postgresql

            kind = column.type
            return column == sa.any_(sa.bindparam(key, type_=postgresql.ARRAY(type(kind)())))
        each = sa.func.json_each(sa.bindparam(key, type_=sa.Text)).table_valued("value")
        return column.in_(sa.select(each.c.value))

    return build


_SET = "set_"


def _with_literals(construct: Executable) -> Executable:
    """The construct with the integers that are part of it in its text: a partial index needs to see them."""

    def replace(element: Any, **_options: Any) -> Any:
        if isinstance(element, sa.BindParameter) and not element.required and type(element.value) is int:
            return sa.literal_column(str(element.value), element.type)
        return None

    return cast("Executable", visitors.replacement_traverse(cast("Any", construct), {}, replace))


def _compile(construct: Executable, dialect: str, *, ad_hoc: bool = False) -> Compiled:
    # Lists in `in_()` are spread out only when their values are there, which only an ad-hoc query has.
    options = {"render_postcompile": True} if ad_hoc else {}
    construct = construct if ad_hoc else _with_literals(construct)
    compiled = construct.compile(dialect=dialect_of(dialect), compile_kwargs=options)  # type: ignore[attr-defined]
    keys = compiled.positiontup or ()
    asked = {key for key, bind in compiled.binds.items() if bind.required}
    constants = {key: compiled.params[key] for key in keys if key not in asked}
    names = tuple(key.removeprefix(_SET) for key in keys)
    json_sets = [key.removeprefix(_SET) for key in keys if key.startswith(_SET)] if dialect == SQLITE else []
    texts = tuple(place for place, key in enumerate(keys) if _may_be_text(compiled.binds.get(key)))
    return Compiled(str(compiled), names, constants, frozenset(json_sets), texts)


def _may_be_text(bind: sa.BindParameter[Any] | None) -> bool:
    if bind is None:  # one of a list that was spread out
        return True
    kind = getattr(bind.type, "item_type", bind.type)
    return isinstance(kind, (sa.String, sa.types.NullType))


def insert(dialect: str, table: sa.Table) -> Any:
    """The dialect's own INSERT, which knows ON CONFLICT."""
    if dialect == POSTGRESQL:
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
