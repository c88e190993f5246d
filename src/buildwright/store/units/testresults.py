"""Test results: sets of a step, each with a result per test, in batches.

Names of tests and code paths repeat with every build, so each is stored once per builder and found by its
digest. They are looked up and added in the order of their digests, names before paths, as the last operations
of a unit: two builds of a builder that meet new names at the same time never wait for each other in a circle.

A set counts its results. A batch is added by compare-and-set on that count, so that none is doubled, and a
step that is run again knows how many of them are stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from buildwright.model.results import FAIL_ONLY, PASS_FAIL, PASS_ONLY
from buildwright.store import schema
from buildwright.store.unit import Fenced, Hint, Statement, Work, in_set, insert, unit

_s = schema.test_result_sets.c
_t = schema.test_results.c

COUNTED = frozenset({PASS_FAIL, PASS_ONLY, FAIL_ONLY})

_TRUE = frozenset({"1", "true", "True"})


class Result(NamedTuple):
    """A result as it is stored; its texts are storable."""

    value: str
    test_name: str | None = None
    test_code_path: str | None = None
    line: int | None = None
    duration_ns: int | None = None
    message: str | None = None


class Batch(NamedTuple):
    """Results to add to a set that has ``expected`` of them."""

    setid: int
    category: str
    expected: int
    results: Sequence[Result]


class StoredSet(NamedTuple):
    setid: int
    number: int
    category: str
    value_unit: str
    num_results: int


def passed(category: str, value: str) -> int | None:
    """Whether a result of a set of this category stands for a test that passed; None: it doesn't say."""
    if category == PASS_FAIL:
        return int(value in _TRUE)
    if category == PASS_ONLY:
        return 1
    return 0 if category == FAIL_ONLY else None


ADD_SET = Statement(
    "testresults.add_set",
    lambda _dialect: sa.insert(schema.test_result_sets).values(
        id=sa.bindparam("setid"),
        builderid=sa.bindparam("builderid"),
        buildid=sa.bindparam("buildid"),
        stepid=sa.bindparam("stepid"),
        number=sa.bindparam("number"),
        description=sa.bindparam("description"),
        category=sa.bindparam("category"),
        value_unit=sa.bindparam("value_unit"),
        tests_passed=sa.bindparam("counts"),
        tests_failed=sa.bindparam("counts"),
    ),
)
COMPLETE_SET = Statement(
    "testresults.complete_set",
    lambda _dialect: (
        sa.update(schema.test_result_sets)
        .where(_s.id == sa.bindparam("setid"), _s.complete == 0)
        .values(complete=1)
    ),
)
COMPLETE_SETS = Statement(
    "testresults.complete_sets",
    lambda _dialect: (
        sa.update(schema.test_result_sets)
        .where(_s.buildid == sa.bindparam("of_buildid"), _s.complete == 0)
        .values(complete=1)
        .returning(_s.id)
    ),
)
_ADVANCE = Statement(
    "testresults.advance",
    lambda _dialect: (
        sa.update(schema.test_result_sets)
        .where(_s.id == sa.bindparam("setid"), _s.num_results == sa.bindparam("expected"), _s.complete == 0)
        .values(
            num_results=_s.num_results + sa.bindparam("more", type_=sa.BigInteger),
            tests_passed=_s.tests_passed + sa.bindparam("more_passed", type_=sa.Integer),
            tests_failed=_s.tests_failed + sa.bindparam("more_failed", type_=sa.Integer),
        )
        .returning(_s.id)
    ),
)
_ADD = Statement(
    "testresults.add",
    lambda _dialect: sa.insert(schema.test_results).values(
        {column.name: sa.bindparam(column.name, type_=column.type) for column in _t if column is not _t.id}
    ),
)
_SETS = Statement(
    "testresults.sets",
    lambda _dialect: (
        sa.select(_s.id, _s.number, _s.category, _s.value_unit, _s.num_results)
        .where(_s.stepid == sa.bindparam("of_stepid"))
        .order_by(_s.number)
    ),
)
_FORGET_RESULTS = Statement(
    "testresults.forget_results",
    lambda _dialect: sa.delete(schema.test_results).where(
        _t.test_result_setid.in_(sa.select(_s.id).where(_s.stepid == sa.bindparam("of_stepid")))
    ),
)
_FORGET_SETS = Statement(
    "testresults.forget_sets",
    lambda _dialect: sa.delete(schema.test_result_sets).where(_s.stepid == sa.bindparam("of_stepid")),
)


class _Repeated:
    """The statements of a table of texts that repeat."""

    def __init__(self, table: sa.Table, column: str) -> None:
        c = table.c
        self.find = Statement(
            f"testresults.find_{table.name}",
            lambda dialect: sa.select(c.digest, c.id).where(
                c.builderid == sa.bindparam("of_builderid"), in_set(c.digest, "digests")(dialect)
            ),
        )
        self.add = Statement(
            f"testresults.add_{table.name}",
            lambda dialect: (
                insert(dialect, table)
                .values(
                    {
                        "builderid": sa.bindparam("builderid"),
                        "digest": sa.bindparam("digest"),
                        column: sa.bindparam("text"),
                    }
                )
                .on_conflict_do_nothing(index_elements=["builderid", "digest"])
            ),
        )

    def ids(self, builderid: int, texts: Iterable[str | None]) -> Work[dict[str | None, int | None]]:
        """The ids of texts, of which new ones are added; None is nobody's."""
        digests = {digest_of(text): text for text in set(texts) if text is not None}
        if not digests:
            return {None: None}
        wanted = sorted(digests)
        known = dict((yield self.find(of_builderid=builderid, digests=wanted)))
        new = [digest for digest in wanted if digest not in known]
        if new:
            yield self.add.many(
                {"builderid": builderid, "digest": digest, "text": digests[digest]} for digest in new
            )
            known = dict((yield self.find(of_builderid=builderid, digests=wanted)))
        found: dict[str | None, int | None] = {text: known[digest] for digest, text in digests.items()}
        found[None] = None
        return found


_NAMES = _Repeated(schema.test_names, "name")
_PATHS = _Repeated(schema.test_code_paths, "path")


def digest_of(text: str) -> str:
    """What a name or a path is found by."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def add_results_work(builderid: int, batches: Sequence[Batch]) -> Work[None]:
    """Add results to sets of one step. Raises Fenced unless each has as many as its batch expects, and is
    open.
    """
    rows = []
    names = yield from _NAMES.ids(builderid, (each.test_name for batch in batches for each in batch.results))
    paths = yield from _PATHS.ids(
        builderid, (each.test_code_path for batch in batches for each in batch.results)
    )
    for batch in batches:
        outcomes = [passed(batch.category, each.value) for each in batch.results]
        taken = yield _ADVANCE(
            setid=batch.setid,
            expected=batch.expected,
            more=len(batch.results),
            more_passed=outcomes.count(1),
            more_failed=outcomes.count(0),
        )
        if not taken:
            raise Fenced(
                f"test result set {batch.setid} doesn't take result {batch.expected} from this writer"
            )
        rows += [
            {
                "builderid": builderid,
                "test_result_setid": batch.setid,
                "test_nameid": names[each.test_name],
                "test_code_pathid": paths[each.test_code_path],
                "line": each.line,
                "duration_ns": each.duration_ns,
                "value": each.value,
                "message": each.message,
                "passed": outcome,
            }
            for each, outcome in zip(batch.results, outcomes, strict=True)
        ]
    yield _ADD.many(rows)


def complete_sets_work(buildid: int) -> Work[None]:
    """Nothing more comes to the sets of a build that are open."""
    for (setid,) in (yield COMPLETE_SETS(of_buildid=buildid)):
        yield Hint("test_result_sets", setid, "completed")


def forget_sets_work(stepid: int) -> Work[None]:
    """Remove the sets of a step with their results: it starts again from its beginning."""
    yield _FORGET_RESULTS(of_stepid=stepid)
    yield _FORGET_SETS(of_stepid=stepid)


@unit
def sets_of_step(stepid: int) -> Work[list[StoredSet]]:
    """The sets that a step has made so far, in their order."""
    return [StoredSet(*row) for row in (yield _SETS(of_stepid=stepid))]
