"""A builder's tests over its builds, on every database: what fails, what is flaky, what is slow."""

from typing import Any

import aiohttp
import pytest

from buildwright.store.units.testresults import digest_of
from buildwright.web.flaky import SAME_SOURCE, TURNS, Run, why_flaky
from buildwright.web.resources.testhistory import RUNS, WINDOW
from tests.support.webserver import Server, execute
from tests.web.conftest import Get, getter
from tests.web.test_reading import BUILDS

BUILDER = 1
# Each of another source.
MINE = [row for row in BUILDS if row["id"] % 5 == 0 and row["complete_at"] is not None]
MS = 1_000_000


@pytest.fixture
def read(each_server: Server, http: aiohttp.ClientSession) -> Get:
    return getter(each_server, http)


class Reports:
    """Test results of the builder's builds, put into the store."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.names: dict[str, int] = {}

    async def start(self) -> None:
        """Remove what the fill has left of this builder."""
        for table in ("test_results", "test_result_sets"):
            await execute(self.server.store, f"DELETE FROM {table} WHERE builderid = {BUILDER}")

    async def add(self, build: dict[str, Any], number: int = 0, /, **outcomes: bool | None) -> None:
        """A set of a build; a test takes as many milliseconds as its name has letters."""
        setid = 5_000_000 + build["id"] * 10 + number
        counts = "NULL, NULL" if None in outcomes.values() else "1, 1"
        category = "skip_only" if None in outcomes.values() else "pass_fail"
        await execute(
            self.server.store,
            "INSERT INTO test_result_sets (id, builderid, buildid, stepid, number, category, value_unit, "
            f"tests_passed, tests_failed, complete) VALUES ({setid}, {BUILDER}, {build['id']}, {setid}, "
            f"{number}, '{category}', 'boolean', {counts}, 1)",
        )
        for name, passed in outcomes.items():
            if name not in self.names:
                self.names[name] = 5000 + len(self.names)
                await execute(
                    self.server.store,
                    "INSERT INTO test_names (id, builderid, digest, name) VALUES "
                    f"({self.names[name]}, {BUILDER}, '{digest_of(name)}', '{name}')",
                )
            outcome = "NULL" if passed is None else int(passed)
            message = "'assert 1 == 2'" if passed is False else "NULL"
            await execute(
                self.server.store,
                "INSERT INTO test_results (builderid, test_result_setid, test_nameid, duration_ns, value, "
                f"message, passed) VALUES ({BUILDER}, {setid}, {self.names[name]}, {len(name) * MS}, "
                f"'{passed}', {message}, {outcome})",
            )


@pytest.fixture
async def tests(each_server: Server) -> Reports:
    made = Reports(each_server)
    await made.start()
    return made


async def of_builder(read: Get, **params: Any) -> dict[str, dict[str, Any]]:
    status, body = await read(f"/builders/{BUILDER}/tests", **params)
    assert status == 200, body
    return {each["test_name"]: each for each in body["tests"]}


async def test_failing_flaky_and_slow_tests_of_a_builder(tests: Reports, read: Get) -> None:
    outcomes = [
        {"broke": True, "turns": True, "mended": False, "fine": True},
        {"broke": True, "turns": False, "mended": True, "fine": True},
        {"broke": True, "turns": True, "mended": True, "fine": True},
        {"broke": False, "turns": False, "mended": True, "fine": True},
    ]
    for build, each in zip(MINE[-4:], outcomes, strict=True):
        await tests.add(build, **each)
    found = await of_builder(read)
    # What always passed is there because it is among the slowest.
    assert list(found) == ["turns", "broke", "mended", "fine"]
    assert {name: (each["failing"], each["flaky_because"]) for name, each in found.items()} == {
        "broke": (True, None),
        "turns": (True, TURNS),
        "mended": (False, None),
        "fine": (False, None),
    }
    assert found["turns"] == {
        "duration_ns": 5 * MS,
        "failed": 2,
        "failing": True,
        "flaky": True,
        "flaky_because": TURNS,
        "passed": 2,
        "recent": [
            {"buildid": build["id"], "number": build["number"], "passed": each["turns"]}
            for build, each in zip(MINE[-4:], outcomes, strict=True)
        ],
        "slow": True,
        "test_name": "turns",
    }
    assert list(await of_builder(read, flaky="true")) == ["turns"]
    assert list(await of_builder(read, order="-duration_ns", limit=1)) == ["mended"]


async def test_the_same_source_with_two_outcomes_is_flaky(
    tests: Reports, each_server: Server, read: Get
) -> None:
    first, second, third = MINE[-3:]
    await tests.add(first, same=True, other=True)
    await tests.add(second, same=False, other=True)
    await tests.add(third, same=False, other=False)
    assert (await of_builder(read))["same"]["flaky_because"] is None
    await execute(
        each_server.store,
        "UPDATE buildset_sourcestamps SET sourcestampid = (SELECT sourcestampid FROM buildset_sourcestamps "
        f"WHERE buildsetid = {first['buildrequestid']}) WHERE buildsetid = {second['buildrequestid']}",
    )
    found = await of_builder(read)
    assert found["same"]["flaky_because"] == SAME_SOURCE
    assert found["other"]["flaky_because"] is None


async def test_what_the_source_step_got_tells_sources_of_a_branch_apart(
    tests: Reports, each_server: Server, read: Get
) -> None:
    first, second = MINE[-2:]
    await tests.add(first, it=True)
    await tests.add(second, it=False)
    # Both of a branch's head: what was built, nobody knows.
    await execute(each_server.store, "UPDATE sourcestamps SET revision = NULL")
    assert (await of_builder(read))["it"]["flaky_because"] is None
    for got, because in (('["one", "Git"]', SAME_SOURCE), ('[{"lib": "one"}, "Git"]', SAME_SOURCE)):
        ids = f"({first['id']}, {second['id']})"
        await execute(
            each_server.store,
            f"UPDATE builds SET properties = '{{\"got_revision\": {got}}}' WHERE id IN {ids}",
        )
        assert (await of_builder(read))["it"]["flaky_because"] == because
    await execute(
        each_server.store,
        f"""UPDATE builds SET properties = '{{"got_revision": ["two", "Git"]}}' WHERE id = {second["id"]}""",
    )
    assert (await of_builder(read))["it"]["flaky_because"] is None
    _, runs = await read(f"/builders/{BUILDER}/tests/it/runs")
    assert [run["revision"] for run in runs["test_runs"]] == ["two", None]


async def test_one_tests_history(tests: Reports, each_server: Server, read: Get) -> None:
    await execute(
        each_server.store,
        f"UPDATE builds SET properties = '{{}}' WHERE builderid = {BUILDER}",
    )
    for build, passed in zip(MINE[-3:], (True, False, None), strict=True):
        await tests.add(build, 0, **{"suite/a name": passed, "another": True})
    status, body = await read(f"/builders/{BUILDER}/tests/suite%2Fa name/runs")
    assert (status, body["meta"]["total"]) == (200, 3)
    newest, failed, _ = body["test_runs"]
    assert (newest["number"], newest["passed"], newest["category"]) == (MINE[-1]["number"], None, "skip_only")
    assert (failed["passed"], failed["message"], failed["duration_ns"]) == (False, "assert 1 == 2", 12 * MS)
    assert failed["buildid"] == MINE[-2]["id"]
    by_name = await read("/builders/waits-for-arm/tests/suite%2Fa name/runs", limit=1)
    assert by_name[1]["test_runs"] == [newest]


async def test_a_test_in_several_steps_of_a_build_passed_if_it_passed_in_all(
    tests: Reports, read: Get
) -> None:
    for build in MINE[-4:]:
        await tests.add(build, 0, twice=True)
        await tests.add(build, 1, twice=False)
    found = (await of_builder(read))["twice"]
    assert (found["passed"], found["failed"], found["flaky"]) == (0, 4, False)


async def test_only_the_newest_builds_are_looked_at(tests: Reports, read: Get) -> None:
    assert len(MINE) > WINDOW
    await tests.add(MINE[0], ancient=False)
    for build in MINE[-WINDOW:]:
        await tests.add(build, fine=True)
    found = await of_builder(read)
    assert list(found) == ["fine"]
    assert found["fine"]["passed"] == WINDOW
    # Its history is there all the same.
    status, body = await read(f"/builders/{BUILDER}/tests/ancient/runs")
    assert (status, len(body["test_runs"])) == (200, 1)
    assert RUNS > WINDOW


async def test_nothing_is_at_what_is_not_there(tests: Reports, read: Get) -> None:
    assert await of_builder(read) == {}
    assert (await read("/builders/none-such/tests"))[0] == 404
    assert (await read(f"/builders/{BUILDER}/tests/none-such/runs"))[0] == 404
    assert tests.names == {}


def runs(text: str, sources: str = "") -> list[Run]:
    """`+-` for passed and failed, with a letter for the source of each; a space: nobody knows."""
    known = sources or " " * len(text)
    return [Run(each == "+", source.strip() or None) for each, source in zip(text, known, strict=True)]


@pytest.mark.parametrize(
    ("text", "sources", "because"),
    [
        ("", "", None),
        ("++++", "abcd", None),
        ("++--", "abcd", None),
        ("++-+", "abcd", None),
        ("+-+-", "abcd", TURNS),
        ("++--++--", "abcdefgh", TURNS),
        ("+-", "aa", SAME_SOURCE),
        ("++-", "aba", SAME_SOURCE),
        ("+-", "  ", None),
        ("+-+-", "    ", TURNS),
    ],
)
def test_what_is_flaky(text: str, sources: str, because: str | None) -> None:
    assert why_flaky(runs(text, sources)) == because
