"""Tests of a builder over its builds: how each one went, which fail, which are flaky, which are slow.

``/builders/B/tests`` looks at the newest ``WINDOW`` builds that left test results, and lists the tests that
failed in any of them (the ``MOST`` that did so most often) and the ``SLOWEST`` of the last few.
``/builders/B/tests/NAME/runs`` gives one test's newest ``RUNS`` results, however long ago they were.

Both are bounded however much history there is: the window's sets are found by their ids; failures by the
index of those, which is small where tests pass; a test's runs by the index of names. What is flaky is decided
in :mod:`buildwright.web.flaky`. A test that a build ran several times, in several steps say, passed in that
build if it passed each time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.base import Executable

from buildwright.store import schema
from buildwright.store.unit import POSTGRESQL, Row, Rows, Statement, Work, in_set, unit
from buildwright.store.units.testresults import digest_of
from buildwright.web.fields import Element
from buildwright.web.flaky import Run, why_flaky
from buildwright.web.paths import Params
from buildwright.web.resource import Computed, Json
from buildwright.web.services import WebServices
from buildwright.web.ways import BUILDER as BUILDER_WAYS

WINDOW = 30
"""So many builds with test results are looked at."""
SETS = 20 * WINDOW
"""Among so many result sets the builds are found."""
MOST = 300
SLOWEST = 50
SLOW_IN = 5
"""The slowest tests are those of so many builds."""
RUNS = 200
LONGEST_MESSAGE = 2000

_ZERO: sa.ColumnElement[int] = sa.literal_column("0")
_s = schema.test_result_sets.c
_t = schema.test_results.c
_n = schema.test_names.c
_b = schema.builds.c

_TEST = {
    "duration_ns": "integer",
    "failed": "integer",
    "failing": "boolean",
    "flaky": "boolean",
    "flaky_because": "string",
    "passed": "integer",
    "recent": "list",
    "slow": "boolean",
    "test_name": "string",
}
_RUN = {
    "buildid": "integer",
    "builderid": "integer",
    "category": "string",
    "complete_at_us": "integer",
    "duration_ns": "integer",
    "flaky_because": "string",
    "message": "string",
    "number": "integer",
    "passed": "boolean",
    "revision": "string",
    "started_at_us": "integer",
    "test_result_setid": "integer",
    "test_resultid": "integer",
    "value": "string",
}

# -- statements -------------------------------------------------------------------------------------------

_SETS = Statement(
    "tests.sets",
    lambda _dialect: (
        sa.select(_s.id, _s.buildid, _s.tests_passed, _s.tests_failed)
        .where(_s.builderid == sa.bindparam("of_builderid"))
        .order_by(_s.id.desc())
        .limit(sa.literal_column(str(SETS)))
    ),
)
_FAILED = Statement(
    "tests.failed",
    lambda dialect: (
        sa.select(_t.test_nameid)
        .where(in_set(_t.test_result_setid, "sets")(dialect), _t.passed == _ZERO, _t.test_nameid.is_not(None))
        .group_by(_t.test_nameid)
        .order_by(sa.func.count(sa.literal_column("*")).desc(), _t.test_nameid)
        .limit(sa.literal_column(str(MOST)))
    ),
)
_SLOW = Statement(
    "tests.slow",
    lambda dialect: (
        sa.select(_t.test_nameid)
        .where(
            in_set(_t.test_result_setid, "sets")(dialect),
            _t.duration_ns > _ZERO,
            _t.test_nameid.is_not(None),
        )
        .group_by(_t.test_nameid)
        .order_by(sa.func.avg(_t.duration_ns).desc(), _t.test_nameid)
        .limit(sa.literal_column(str(SLOWEST)))
    ),
)
# Of each set by its index; without it the runs of names would go back to the beginning.
_FIRST = Statement(
    "tests.first",
    lambda dialect: sa.select(sa.func.min(_t.id)).where(in_set(_t.test_result_setid, "sets")(dialect)),
)
_RUNS_OF_NAMES = Statement(
    "tests.runs_of_names",
    lambda dialect: (
        sa.select(_t.test_nameid, _t.test_result_setid, _t.passed, _t.duration_ns)
        .where(
            in_set(_t.test_nameid, "names")(dialect),
            _t.id >= sa.bindparam("from_id", type_=sa.BigInteger),
            _t.passed.is_not(None),
        )
        .order_by(_t.test_nameid, _t.id)
    ),
)
_NAMES = Statement(
    "tests.names", lambda dialect: sa.select(_n.id, _n.name).where(in_set(_n.id, "ids")(dialect))
)
_NAMED = Statement(
    "tests.named",
    lambda _dialect: sa.select(_n.id).where(
        _n.builderid == sa.bindparam("of_builderid"), _n.digest == sa.bindparam("digest")
    ),
)
_HISTORY = Statement(
    "tests.history",
    lambda _dialect: (
        sa.select(
            _t.id,
            _t.test_result_setid,
            _t.passed,
            _t.value,
            _t.duration_ns,
            sa.func.substr(_t.message, 1, LONGEST_MESSAGE),
            _s.buildid,
            _s.category,
        )
        .where(_t.test_nameid == sa.bindparam("of_name"), _s.id == _t.test_result_setid)
        .order_by(_t.id.desc())
        .limit(sa.literal_column(str(RUNS)))
    ),
)


def _got_revision(dialect: str) -> Element:
    """What the source steps of a build said that they got, as text; an object by codebase as JSON."""
    if dialect == POSTGRESQL:
        from sqlalchemy.dialects import postgresql

        path: Element = sa.literal_column("'{got_revision,0}'")
        return sa.cast(_b.properties, postgresql.JSONB).op("#>>")(path)
    return sa.func.json_extract(_b.properties, sa.literal_column("'$.got_revision[0]'"))


def _builds(dialect: str) -> Executable:
    requests, links = schema.buildrequests.c, schema.buildset_sourcestamps.c
    stamps = schema.sourcestamps
    joined = (
        schema.builds.join(schema.buildrequests, requests.id == _b.buildrequestid)
        .outerjoin(schema.buildset_sourcestamps, links.buildsetid == requests.buildsetid)
        .outerjoin(stamps, stamps.c.id == links.sourcestampid)
    )
    return (
        sa.select(
            _b.id,
            _b.number,
            _b.builderid,
            _b.started_at,
            _b.complete_at,
            _b.results,
            _got_revision(dialect),
            stamps.c.codebase,
            stamps.c.revision,
            stamps.c.patchid,
        )
        .select_from(joined)
        .where(in_set(_b.id, "ids")(dialect))
        .order_by(_b.id, stamps.c.codebase)
    )


_BUILDS = Statement("tests.builds", _builds)


# -- reading ----------------------------------------------------------------------------------------------


class Built(NamedTuple):
    """A build, and what it tested."""

    buildid: int
    number: int
    builderid: int
    started_at: int
    complete_at: int | None
    results: int | None
    revision: str | None
    source: Hashable | None


def _source(got: str | None, stamps: Sequence[Row]) -> Hashable | None:
    """What tells builds of the same source; None: nobody knows what was built."""
    patches = tuple(patchid for _, _, patchid in stamps)
    if got:
        return got, patches
    revisions = tuple((codebase, revision) for codebase, revision, _ in stamps)
    known = stamps and all(revision is not None for _, revision in revisions)
    return (revisions, patches) if known else None


def built_of(rows: Iterable[Row]) -> dict[int, Built]:
    """Builds by id, from a row for each of their source stamps."""
    grouped: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row[0]].append(row)
    found = {}
    for buildid, mine in grouped.items():
        _, number, builderid, started_at, complete_at, results, got, *_ = mine[0]
        stamps = [row[7:] for row in mine if row[7] is not None]
        revision = next((each for _, each, _ in stamps if each is not None), None)
        if revision is None and got and not got.startswith("{"):
            revision = got
        found[buildid] = Built(
            buildid, number, builderid, started_at, complete_at, results, revision, _source(got, stamps)
        )
    return found


class Window(NamedTuple):
    """What was read of a builder's newest builds with test results."""

    runs: Rows  # (name's id, set's id, passed, duration), the oldest first
    names: Mapping[int, str]
    slow: frozenset[int]
    sets: Mapping[int, int]  # each with its build
    builds: Mapping[int, Built]


_EMPTY = Window([], {}, frozenset(), {}, {})


def _sets_of(rows: Rows, most: int) -> dict[int, int]:
    """The sets that count tests, of the newest builds that have any."""
    counted = [(setid, buildid) for setid, buildid, *counts in rows if counts != [None, None]]
    newest = sorted({buildid for _, buildid in counted}, reverse=True)[:most]
    kept = set(newest)
    return {setid: buildid for setid, buildid in counted if buildid in kept}


@unit
def _read_window(builder: Statement, path: Params) -> Work[Window | None]:
    rows = yield builder(**path)
    if not rows:
        return None
    found = yield _SETS(of_builderid=rows[0][0])
    sets = _sets_of(found, WINDOW)
    if not sets:
        return _EMPTY
    failed = [nameid for (nameid,) in (yield _FAILED(sets=list(sets)))]
    slow = [nameid for (nameid,) in (yield _SLOW(sets=list(_sets_of(found, SLOW_IN))))]
    nameids = sorted({*failed, *slow})
    [(first,)] = yield _FIRST(sets=list(sets))
    runs = yield _RUNS_OF_NAMES(names=nameids, from_id=first or 0)
    names = dict((yield _NAMES(ids=nameids)))
    builds = built_of((yield _BUILDS(ids=sorted(set(sets.values())))))
    return Window(runs, names, frozenset(slow), sets, builds)


@unit
def _read_history(builder: Statement, path: Params) -> Work[tuple[Rows, dict[int, Built]] | None]:
    rows = yield builder(**{name: value for name, value in path.items() if name != "test_name"})
    if not rows:
        return None
    named = yield _NAMED(of_builderid=rows[0][0], digest=digest_of(path["test_name"]))
    if not named:
        return None
    history = yield _HISTORY(of_name=named[0][0])
    builds = built_of((yield _BUILDS(ids=sorted({row[6] for row in history}))))
    return history, builds


# -- what is shown ----------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """How a test went in a build."""

    build: Built
    passed: bool
    duration_ns: int | None


def by_build(runs: Iterable[Outcome]) -> list[Outcome]:
    """One outcome for each build, the oldest first."""
    grouped: dict[int, list[Outcome]] = defaultdict(list)
    for run in runs:
        grouped[run.build.buildid].append(run)
    found = []
    for _, mine in sorted(grouped.items()):
        durations = [run.duration_ns for run in mine if run.duration_ns is not None]
        took = max(durations) if durations else None
        found.append(Outcome(mine[0].build, all(run.passed for run in mine), took))
    return found


def _because(outcomes: Sequence[Outcome]) -> str | None:
    return why_flaky([Run(each.passed, each.build.source) for each in outcomes[-WINDOW:]])


def summary(window: Window) -> list[Json]:
    """Each test with how it went in the window's builds: failing ones first, then flaky ones."""
    by_name: dict[int, list[Outcome]] = defaultdict(list)
    for nameid, setid, passed, duration in window.runs:
        build = window.builds.get(window.sets.get(setid, -1))
        if build is not None:
            by_name[nameid].append(Outcome(build, bool(passed), duration))
    found: list[Json] = []
    for nameid, runs in by_name.items():
        outcomes = by_build(runs)
        because = _because(outcomes)
        durations = [each.duration_ns for each in outcomes if each.duration_ns is not None]
        found.append(
            {
                "duration_ns": int(fmean(durations)) if durations else None,
                "failed": sum(not each.passed for each in outcomes),
                "failing": not outcomes[-1].passed,
                "flaky": because is not None,
                "flaky_because": because,
                "passed": sum(each.passed for each in outcomes),
                "recent": [
                    {"buildid": build.buildid, "number": build.number, "passed": passed}
                    for build, passed, _ in outcomes
                ],
                "slow": nameid in window.slow,
                "test_name": window.names[nameid],
            }
        )
    found.sort(key=lambda each: (not each["failing"], not each["flaky"], -each["failed"], each["test_name"]))
    return found


def history(rows: Rows, builds: Mapping[int, Built]) -> list[Json]:
    """One test's results, the newest first; each says why the test is flaky now, if it is."""
    known = [row for row in rows if row[6] in builds]
    counted = [Outcome(builds[row[6]], bool(row[2]), row[4]) for row in known if row[2] is not None]
    because = _because(by_build(counted))
    found = []
    for resultid, setid, passed, value, duration, message, buildid, category in known:
        build = builds[buildid]
        found.append(
            {
                "buildid": buildid,
                "builderid": build.builderid,
                "category": category,
                "complete_at_us": build.complete_at,
                "duration_ns": duration,
                "flaky_because": because,
                "message": message,
                "number": build.number,
                "passed": None if passed is None else bool(passed),
                "revision": build.revision,
                "started_at_us": build.started_at,
                "test_result_setid": setid,
                "test_resultid": resultid,
                "value": value,
            }
        )
    return found


def _endpoints(path: str, builderid: Element) -> list[Computed]:
    builder = Statement(
        "tests.builder",
        lambda _dialect: sa.select(schema.builders.c.id).where(schema.builders.c.id == builderid),
    )

    async def tests(services: WebServices, params: Params) -> list[Json] | None:
        window = await services.store.read(_read_window(builder, params))
        return None if window is None else summary(window)

    async def runs(services: WebServices, params: Params) -> list[Json] | None:
        found = await services.store.read(_read_history(builder, params))
        return None if found is None else history(*found)

    return [
        Computed(f"{path}/tests", "test", "tests", True, tests, _TEST),
        Computed(f"{path}/tests/s:test_name/runs", "test_run", "test_runs", True, runs, _RUN),
    ]


ENDPOINTS = [endpoint for path, builderid in BUILDER_WAYS for endpoint in _endpoints(path, builderid)]
