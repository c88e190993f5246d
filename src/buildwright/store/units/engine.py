"""What the build engine writes: every unit of it begins at the fence.

:func:`write` runs the operations that a build's writer has gathered since its last commit. Its first
statement is fence and duplicate check in one: it moves the build's version on by one, only if the worker is
still attached under the number that the writer knows, and holds the worker's row against a takeover until
the commit. If nothing matches, either this very write was committed before (the outcome of its commit was
unknown and it is run again): the version has moved by one and the worker is still attached as the writer
knows it, so nobody else can have moved it, and there is nothing to do. Or the build has another owner:
Fenced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from buildwright.model.results import RETRY
from buildwright.store import schema
from buildwright.store.unit import Bound, Fenced, Hint, Many, Shortcut, Statement, Work, insert, shortcut
from buildwright.store.units.logs import add_log_work

_b = schema.builds.c
_w = schema.workers.c
_st = schema.steps.c
_j = schema.journal.c


class Fence(NamedTuple):
    """What a writer knows of its ownership."""

    workerid: int
    attachment: int
    masterid: int


class Part(NamedTuple):
    """An operation that reads before it writes: a generator function with its arguments.

    ``told`` gets its result after the commit.
    """

    function: Callable[..., Work[Any]]
    args: tuple[Any, ...]
    told: Callable[[Any], None] | None = None


Operation = Bound | Many | Hint | Part


def _pass() -> sa.Update:
    return (
        sa.update(schema.builds)
        .where(
            _b.id == sa.bindparam("buildid"),
            _b.version == sa.bindparam("at_version"),
            _b.complete_at.is_(None),
            _b.workerid.in_(
                sa.select(_w.id)
                .where(
                    _w.id == sa.bindparam("of_workerid"),
                    _w.attachment == sa.bindparam("of_attachment"),
                    _w.masterid == sa.bindparam("of_masterid"),
                )
                .with_for_update(read=True)
            ),
        )
        .values(
            version=_b.version + 1,
            state_string=sa.func.coalesce(sa.bindparam("state", type_=sa.Text), _b.state_string),
            properties=sa.func.coalesce(sa.bindparam("said_properties", type_=sa.Text), _b.properties),
        )
    )


_PASS = Statement("engine.pass_fence", lambda _dialect: _pass().returning(_b.id))
_STEP = {
    "id": "stepid",
    "buildid": "buildid",
    "number": "number",
    "name": "name",
    "started_at": "now_us",
    "locks_acquired_at": "locks_acquired_at",
    "state_string": "state",
    "fingerprint": "fingerprint",
    "arguments": "arguments",
}
_ENTRY_OF = {
    "stepid": "stepid",
    "try": "of_try",
    "seq": "seq",
    "kind": "kind",
    "fingerprint": "fingerprint",
    "logid": "logid",
    "done": "done",
    "outcome": "outcome",
}
_LOG = ("id", "stepid", "name", "slug", "type")


def _begin_step() -> sa.Select[Any]:
    passed = _pass().returning(_b.id).cte("passed")

    def row(table: sa.Table, prefix: str, names: Mapping[str, str]) -> sa.CTE:
        values = [
            sa.bindparam(f"{prefix}_{name}", type_=table.c[column].type) for column, name in names.items()
        ]
        added = sa.insert(table).from_select([*names], sa.select(*values).select_from(passed))
        return added.cte(f"added_{prefix}")

    return sa.select(passed.c.id).add_cte(
        row(schema.steps, "step", _STEP),
        row(schema.logs, "log", {name: name for name in _LOG}),
        row(schema.journal, "entry", _ENTRY_OF),
    )


_BEGIN_STEP = Shortcut("engine.begin_step", _begin_step)


def _begun_step(operations: Sequence[Operation]) -> dict[str, Any] | None:
    """The shortcut's values, if the operations are what a step that is a command begins with."""
    match [operation for operation in operations if type(operation) is not Hint]:
        case [
            Bound(statement=step, params=of_step),
            Part(function=function, args=args, told=None),
            Bound(statement=note, params=of_entry),
        ] if step is START_STEP and function is add_log_work and note is NOTE:
            found = {f"step_{name}": value for name, value in of_step.items()}
            found |= {f"log_{name}": value for name, value in zip(_LOG, args, strict=True)}
            return found | {f"entry_{name}": value for name, value in of_entry.items()}
    return None


_WRITTEN = Statement(
    "engine.written",
    lambda _dialect: (
        sa.select(_b.id)
        .select_from(schema.builds.join(schema.workers, _w.id == _b.workerid))
        .where(
            _b.id == sa.bindparam("buildid"),
            _b.version == sa.bindparam("to_version"),
            _w.id == sa.bindparam("of_workerid"),
            _w.attachment == sa.bindparam("of_attachment"),
            _w.masterid == sa.bindparam("of_masterid"),
        )
    ),
)


@shortcut
def write(
    buildid: int,
    version: int,
    fence: Fence,
    operations: Sequence[Operation],
    *,
    state: str | None = None,
    properties: str | None = None,
) -> Work[list[Any]]:
    """Write all operations of a build, from ``version`` to ``version + 1``; gives its parts' results.

    A new state string and properties of the build itself go with the fence, which writes its row anyway.
    What a build's first step begins with is a shortcut: its row, its log, and its command's in the journal.
    """
    owner = {
        "of_workerid": fence.workerid,
        "of_attachment": fence.attachment,
        "of_masterid": fence.masterid,
    }
    fence_of = {"buildid": buildid, "at_version": version, "state": state, "said_properties": properties}
    begun = _begun_step(operations)
    if begun is not None and (yield _BEGIN_STEP(**fence_of, **owner, **begun)):
        yield from (operation for operation in operations if isinstance(operation, Hint))
        yield Hint("logs", begun["log_id"], "new")
        return [None]
    passed = yield _PASS(**fence_of, **owner)
    if not passed:
        if (yield _WRITTEN(buildid=buildid, to_version=version + 1, **owner)):
            return []
        raise Fenced(f"build {buildid} has another owner")
    results = []
    for operation in operations:
        if isinstance(operation, Part):
            results.append((yield from operation.function(*operation.args)))
        else:
            yield operation
    return results


PIN = Statement(
    "engine.pin",
    lambda _dialect: (
        sa.update(schema.builds)
        .where(_b.id == sa.bindparam("buildid"))
        .values(pinned=sa.bindparam("basedir"))
    ),
)
ADD_LOCKS_DURATION = Statement(
    "engine.add_locks_duration",
    lambda _dialect: (
        sa.update(schema.builds)
        .where(_b.id == sa.bindparam("buildid"))
        .values(locks_duration_us=_b.locks_duration_us + sa.bindparam("waited_us"))
    ),
)
START_STEP = Statement(
    "engine.start_step",
    lambda _dialect: sa.insert(schema.steps).values(
        {column: sa.bindparam(name) for column, name in _STEP.items()}
    ),
)
LOCKS_ACQUIRED = Statement(
    "engine.locks_acquired",
    lambda _dialect: (
        sa.update(schema.steps)
        .where(_st.id == sa.bindparam("stepid"))
        .values(locks_acquired_at=sa.bindparam("now_us"))
    ),
)
SAY_STEP_STATE = Statement(
    "engine.say_step_state",
    lambda _dialect: (
        sa.update(schema.steps)
        .where(_st.id == sa.bindparam("stepid"))
        .values(state_string=sa.bindparam("state"))
    ),
)
SET_URLS = Statement(
    "engine.set_urls",
    lambda _dialect: (
        sa.update(schema.steps).where(_st.id == sa.bindparam("stepid")).values(urls=sa.bindparam("urls"))
    ),
)
KEEP_PROPERTIES_BEFORE = Statement(
    "engine.keep_properties_before",
    lambda _dialect: (
        sa.update(schema.steps)
        .where(_st.id == sa.bindparam("stepid"), _st.properties_before.is_(None))
        .values(properties_before=sa.bindparam("properties"))
    ),
)
KEEP_STATISTICS = Statement(
    "engine.keep_statistics",
    lambda _dialect: (
        sa.update(schema.steps)
        .where(_st.id == sa.bindparam("stepid"))
        .values(arguments=sa.bindparam("with_statistics"))
    ),
)
NOTE_FOREIGN_WAIT = Statement(
    "engine.note_foreign_wait",
    lambda _dialect: sa.update(schema.steps).where(_st.id == sa.bindparam("stepid")).values(foreign_wait=1),
)
NOTE_ADDED_STEPS = Statement(
    "engine.note_added_steps",
    lambda _dialect: sa.update(schema.steps).where(_st.id == sa.bindparam("stepid")).values(added_steps=1),
)
NEXT_TRY = Statement(
    "engine.next_try",
    lambda _dialect: (
        sa.update(schema.steps)
        .where(_st.id == sa.bindparam("stepid"))
        .values({"try": sa.bindparam("new_try"), "foreign_wait": 0, "added_steps": 0})
    ),
)
FINISH_STEP = Statement(
    "engine.finish_step",
    lambda _dialect: (
        sa.update(schema.steps)
        .where(_st.id == sa.bindparam("stepid"), _st.complete_at.is_(None))
        .values(
            complete_at=sa.bindparam("now_us"),
            results=sa.bindparam("to_results"),
            state_string=sa.bindparam("state"),
            hidden=sa.bindparam("to_hidden"),
        )
    ),
)
NOTE = Statement(
    "engine.journal",
    lambda dialect: insert(dialect, schema.journal).values(
        {column: sa.bindparam(name) for column, name in _ENTRY_OF.items()}
    ),
)
_ENTRY = (
    _j.stepid == sa.bindparam("of_stepid"),
    _j["try"] == sa.bindparam("of_try"),
    _j.seq == sa.bindparam("of_seq"),
)
ACKNOWLEDGE = Statement(
    "engine.acknowledge",
    lambda _dialect: sa.update(schema.journal).where(*_ENTRY).values(acked=sa.bindparam("next_record")),
)
KEEP_PARTIAL = Statement(
    "engine.keep_partial",
    lambda _dialect: (
        sa.update(schema.journal)
        .where(*_ENTRY)
        .values(acked=sa.bindparam("next_record"), outcome=sa.bindparam("partial"))
    ),
)
SETTLE = Statement(
    "engine.settle",
    lambda _dialect: (
        sa.update(schema.journal)
        .where(*_ENTRY)
        .values(done=1, acked=sa.bindparam("next_record"), outcome=sa.bindparam("whole"))
    ),
)
FORGET_JOURNAL = Statement(
    "engine.forget_journal",
    lambda _dialect: sa.delete(schema.journal).where(_j.stepid == sa.bindparam("of_stepid")),
)

# -- attempts whose worker is lost ------------------------------------------------------------------------

CLOSE_STEPS = Statement(
    "engine.close_steps",
    lambda _dialect: (
        sa.update(schema.steps)
        .where(_st.buildid == sa.bindparam("of_buildid"), _st.complete_at.is_(None))
        .values(complete_at=sa.bindparam("now_us"), results=RETRY, state_string=sa.bindparam("state"))
        .returning(_st.id)
    ),
)
