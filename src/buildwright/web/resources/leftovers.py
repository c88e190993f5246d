"""What builds leave behind: data under names, and sets of test results with what went wrong in them.

The value of build data is no part of its object, as in Buildbot: its path's ``/value`` gives the bytes."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.web.fields import flag, number, opaque, text
from buildwright.web.paths import number as path_number
from buildwright.web.paths import text as path_text
from buildwright.web.rawdata import ValuePath
from buildwright.web.resource import Endpoint, resource
from buildwright.web.ways import BUILD as BUILD_WAYS
from buildwright.web.ways import BUILDER as BUILDER_WAYS
from buildwright.web.ways import STEP as STEP_WAYS

_d = schema.build_data.c
_s = schema.test_result_sets.c
_t = schema.test_results.c
_n = schema.test_names.c
_p = schema.test_code_paths.c

_ZERO: sa.ColumnElement[int] = sa.literal_column("0")

# Looked up for the rows that are shown; a join would begin with all the names that a builder ever had.
_name = sa.select(_n.name).where(_n.id == _t.test_nameid).scalar_subquery()
_path = sa.select(_p.path).where(_p.id == _t.test_code_pathid).scalar_subquery()

BUILD_DATA = resource(
    "build_data",
    schema.build_data,
    _d.id,
    number("buildid", _d.buildid),
    text("name", _d.name),
    number("length", _d.length),
    opaque("value", sa.null().cast(sa.Text), decode=lambda value: value, type="binary", nullable=True),
    text("source", _d.source),
    plural="build_data",
    null_differs=True,
)

TEST_RESULT_SET = resource(
    "test_result_set",
    schema.test_result_sets,
    _s.id,
    number("test_result_setid", _s.id),
    number("builderid", _s.builderid),
    number("buildid", _s.buildid),
    number("stepid", _s.stepid),
    text("description", _s.description, nullable=True),
    text("category", _s.category),
    text("value_unit", _s.value_unit),
    number("tests_passed", _s.tests_passed, nullable=True),
    number("tests_failed", _s.tests_failed, nullable=True),
    number("num_results", _s.num_results),
    flag("complete", _s.complete),
    null_differs=True,
)

TEST_RESULT = resource(
    "test_result",
    schema.test_results,
    _t.id,
    number("test_resultid", _t.id),
    number("builderid", _t.builderid),
    number("test_result_setid", _t.test_result_setid),
    text("test_name", _name, nullable=True),
    text("test_code_path", _path, nullable=True),
    number("line", _t.line, nullable=True),
    number("duration_ns", _t.duration_ns, nullable=True),
    text("value", _t.value),
    text("message", _t.message, nullable=True),
    replace(flag("passed", _t.passed), nullable=True),
    null_differs=True,
)

_of_set = _t.test_result_setid == path_number("test_result_setid")

ENDPOINTS = [
    *(Endpoint(f"{path}/data", BUILD_DATA, True, _d.buildid == buildid) for path, buildid in BUILD_WAYS),
    *(
        Endpoint(
            f"{path}/data/s:name",
            BUILD_DATA,
            False,
            sa.and_(_d.buildid == buildid, _d.name == path_text("name")),
        )
        for path, buildid in BUILD_WAYS
    ),
    Endpoint("/test_result_sets", TEST_RESULT_SET, True),
    Endpoint(
        "/test_result_sets/n:test_result_setid",
        TEST_RESULT_SET,
        False,
        _s.id == path_number("test_result_setid"),
    ),
    *(
        Endpoint(f"{path}/test_result_sets", TEST_RESULT_SET, True, column == which)
        for ways, column in ((BUILDER_WAYS, _s.builderid), (BUILD_WAYS, _s.buildid), (STEP_WAYS, _s.stepid))
        for path, which in ways
    ),
    Endpoint("/test_result_sets/n:test_result_setid/results", TEST_RESULT, True, _of_set),
    *(
        Endpoint(
            f"{path}/unsuccessful_test_results",
            TEST_RESULT,
            True,
            sa.and_(
                _t.test_result_setid.in_(sa.select(_s.id).where(_s.buildid == buildid)), _t.passed == _ZERO
            ),
        )
        for path, buildid in BUILD_WAYS
    ),
]

VALUES = [
    ValuePath.of(f"{path}/data/s:name/value", buildid, path_text("name")) for path, buildid in BUILD_WAYS
]
