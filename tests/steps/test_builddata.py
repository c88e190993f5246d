"""What steps leave with their build: data under names, and test results in sets."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.model.results import EXCEPTION, RETRY, SUCCESS
from buildwright.store import schema
from tests.steps.conftest import BOTH_STORES, Start
from tests.support.rig import Rig

_s, _t, _n, _p, _d = (
    table.c
    for table in (
        schema.test_result_sets,
        schema.test_results,
        schema.test_names,
        schema.test_code_paths,
        schema.build_data,
    )
)

HOLD = '"echo $$; while [ ! -e ../go ]; do sleep 0.02; done; echo over"'


async def data_of(it: Rig, buildid: int) -> dict[str, tuple[bytes, int, str]]:
    rows = await it.store.fetch(
        sa.select(_d.name, _d.value, _d.length, _d.source).where(_d.buildid == buildid)
    )
    return {name: (bytes(value), length, source) for name, value, length, source in rows}


async def sets_of(it: Rig, buildid: int) -> list[dict[str, Any]]:
    columns = [_s.id, _s.number, _s.description, _s.category, _s.value_unit]
    columns += [_s.tests_passed, _s.tests_failed, _s.num_results, _s.complete]
    rows = await it.store.fetch(sa.select(*columns).where(_s.buildid == buildid).order_by(_s.number))
    return [dict(zip([column.name for column in columns], row, strict=True)) for row in rows]


async def results_of(it: Rig, setid: int) -> list[tuple[Any, ...]]:
    source = schema.test_results.outerjoin(schema.test_names, _n.id == _t.test_nameid).outerjoin(
        schema.test_code_paths, _p.id == _t.test_code_pathid
    )
    columns = (_n.name, _p.path, _t.line, _t.duration_ns, _t.value, _t.message, _t.passed)
    query = sa.select(*columns).select_from(source).where(_t.test_result_setid == setid)
    return [tuple(row) for row in await it.store.fetch(query.order_by(_t.id))]


@BOTH_STORES
async def test_a_step_leaves_data_and_results(start: Start) -> None:
    it = await start(
        """
class Leaves(steps.BuildStep):
    async def addTestResultSets(self):
        self.speed = await self.addTestResultSet("how fast", "performance", "ms")
    async def run(self):
        await self.setBuildData("report", b"first", "here")
        self.setBuildData("report", bytes(range(256)), "there")
        self.setBuildData("caf\\u00e9/x", b"", "here")
        tests = await self.addTestResultSet(None, "pass_fail", "boolean")
        self.addTestResult(self.speed, "17", test_name="fast")
        self.addTestResult(tests, "1", "one", "src/one.py", 3, 1_000)
        self.addTestResult(tests, "0", "two", "src/one.py", message="broken")
        self.addTestResult(tests, "1")
        return util.SUCCESS
builder("b", Leaves(name="leaves"))
"""
    )
    for _ in range(2):
        built = await it.build()
        assert built.results == SUCCESS, built
        assert await data_of(it, built.id) == {
            "report": (bytes(range(256)), 256, "there"),
            "café/x": (b"", 0, "here"),
        }
        speed, tests = await sets_of(it, built.id)
        assert (speed["description"], speed["category"], speed["value_unit"]) == (
            "how fast", "performance", "ms",
        )  # fmt: skip
        assert (speed["tests_passed"], speed["tests_failed"], speed["num_results"]) == (None, None, 1)
        assert (tests["tests_passed"], tests["tests_failed"], tests["num_results"]) == (2, 1, 3)
        assert (speed["complete"], tests["complete"]) == (1, 1)
        assert await results_of(it, speed["id"]) == [("fast", None, None, None, "17", None, None)]
        assert await results_of(it, tests["id"]) == [
            ("one", "src/one.py", 3, 1_000, "1", None, 1),
            ("two", "src/one.py", None, None, "0", "broken", 0),
            (None, None, None, None, "1", None, 1),
        ]
    names = await it.store.fetch(sa.select(_n.name).order_by(_n.name))
    assert [name for (name,) in names] == ["fast", "one", "two"]  # once for both builds
    assert len(await it.store.fetch(sa.select(_p.id))) == 1


@BOTH_STORES
async def test_texts_that_can_not_be_stored_are_replaced(start: Start) -> None:
    it = await start(
        r"""
class Odd(steps.BuildStep):
    async def run(self):
        odd = "a\0\udc80z"
        tests = await self.addTestResultSet(odd, odd, odd)
        self.addTestResult(tests, odd, odd, odd, message=odd)
        self.addTestResult(tests, "1", "x" * 10_000)
        self.setBuildData(odd, b"\0\xff", odd)
        return util.SUCCESS
builder("b", Odd(name="odd"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    held = "a\ufffd\ufffdz"
    assert await data_of(it, built.id) == {held: (b"\0\xff", 2, held)}
    [tests] = await sets_of(it, built.id)
    assert (tests["description"], tests["category"], tests["value_unit"]) == (held, held, held)
    assert await results_of(it, tests["id"]) == [
        (held, held, None, None, held, held, None),
        ("x" * 10_000, None, None, None, "1", None, None),
    ]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("self.setBuildData('x', 'text', 'here')", "build data 'x' must be bytes, not str"),
        ("self.setBuildData('x' * 300, b'', 'here')", "1 to 256 characters, not 300"),
        ("self.setBuildData('x', bytes(17 << 20), 'here')", "at most 16777216 are possible"),
        ("self.addTestResult(5, '1')", "this step has no test result set 5"),
        ("self.addTestResult(await self.addTestResultSet('d', 'c', 'u'), 1)", "must be text, not int"),
        ("self.addTestResult(await self.addTestResultSet('d', 'c', 'u'), '1', line='3')", "not str"),
        ("self.addTestResult(await self.addTestResultSet('d', 'c', 'u'), '1', line=1 << 40)", "out of range"),
        ("self.addTestResultSet('d', None, 'u')", "the category of a test result set must be text"),
    ],
)
async def test_what_cannot_be_kept_is_an_error_of_the_step(start: Start, call: str, said: str) -> None:
    it = await start(
        f"""
class Wrong(steps.BuildStep):
    async def run(self):
        {call}
        return util.SUCCESS
builder("b", Wrong(name="wrong"))
"""
    )
    built = await it.build()
    assert built.results == EXCEPTION
    assert said in built.log("wrong", "err.text").out.decode(), built


MANY = f"""
class Many(steps.ShellMixin, steps.BuildStep):
    def __init__(self, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs))
    async def run(self):
        tests = await self.addTestResultSet("tests", "pass_fail", "boolean")
        for i in range(5000):
            self.addTestResult(tests, str(i % 2), f"test {{i}}")
        self.setBuildData("kept", b"before", "here")
        await self.runCommand(await self.makeRemoteShellCommand(command={HOLD}))
        more = await self.addTestResultSet("more", "fail_only", "message")
        self.addTestResult(more, "too late", "the last")
        self.addTestResult(tests, "1", "test 5000")
        self.setBuildData("kept", b"after", "here")
        return util.SUCCESS
"""


@BOTH_STORES
async def test_p4_run_again_it_doubles_nothing(start: Start) -> None:
    """P4: the master dies in the middle of a step that has thousands of results; each is there once."""
    it = await start(MANY + 'builder("b", Many(name="many"))')
    request = await it.submit()
    await it.until_output(request, b"\n")
    for _ in range(2):
        await it.restart()
        await it.until("workers", it.attached)
    (it.builddir() / "go").write_text("")
    built = await it.finished(request)
    assert (built.results, built.attempt) == (SUCCESS, 1), built
    tests, more = await sets_of(it, built.id)
    assert (tests["num_results"], tests["tests_passed"], tests["tests_failed"]) == (5001, 2501, 2500)
    assert (more["num_results"], more["tests_passed"], more["tests_failed"]) == (1, 0, 1)
    stored = await results_of(it, tests["id"])
    assert [name for name, *_ in stored] == [f"test {i}" for i in range(5001)]
    assert await data_of(it, built.id) == {"kept": (b"after", 5, "here")}
    assert (tests["complete"], more["complete"]) == (1, 1)


async def test_a_step_that_starts_again_begins_its_sets_again(start: Start) -> None:
    it = await start(
        """
import asyncio, pathlib
class Foreign(steps.BuildStep):
    restartable = True
    async def run(self):
        tries = pathlib.Path(basedir) / "tries"
        count = len(tries.read_text()) if tries.exists() else 0
        tests = await self.addTestResultSet(f"try {count}", "pass_only", "boolean")
        self.addTestResult(tests, "1", f"of try {count}")
        tries.write_text("x" * (count + 1))
        while not (pathlib.Path(basedir) / "go").exists():
            await asyncio.sleep(0.02)
        return util.SUCCESS
builder("b", Foreign(name="foreign"))
"""
    )
    request = await it.submit()

    async def noted() -> bool:
        steps = schema.steps.c
        rows = await it.store.fetch(sa.select(steps.foreign_wait))
        return bool(rows and rows[0][0] and await it.store.fetch(sa.select(_t.id)))

    await it.until("steps", noted)
    await it.restart()
    (it.basedir / "go").write_text("")
    built = await it.finished(request)
    assert (built.results, built.step("foreign").tries) == (SUCCESS, 1), built
    [tests] = await sets_of(it, built.id)
    assert tests["description"] == "try 1"
    assert await results_of(it, tests["id"]) == [("of try 1", None, None, None, "1", None, 1)]
    assert len(await it.store.fetch(sa.select(_t.id))) == 1


async def test_p9_secrets_are_in_neither(start: Start, tmp_path: Path) -> None:
    """P9: what a step leaves behind shows no secret."""
    kept = tmp_path / "master" / "secrets"
    kept.mkdir(parents=True)
    (kept / "token").write_text("hunter2hunter2")
    (kept / "token").chmod(0o600)
    it = await start(
        """
class Tells(steps.BuildStep):
    renderables = ["what"]
    def __init__(self, what, **kwargs):
        super().__init__(**kwargs)
        self.what = what
    async def run(self):
        self.setBuildData("told", self.what.encode(), "here")
        tests = await self.addTestResultSet(self.what, "fail_only", "message")
        self.addTestResult(tests, self.what, self.what, self.what, message=self.what)
        return util.SUCCESS
c["secretsProviders"] = [secrets.SecretInAFile("secrets")]
builder("b", Tells(util.Interpolate("<%(secret:token)s>"), name="tells"))
"""
    )
    built = await it.build()
    assert built.results == SUCCESS, built
    [tests] = await sets_of(it, built.id)
    told = [await data_of(it, built.id), tests, await results_of(it, tests["id"])]
    assert "hunter2" not in repr(told)
    assert (await data_of(it, built.id))["told"][0] == b"<<token>>", told


async def test_the_sets_of_a_lost_attempt_are_complete(start: Start) -> None:
    it = await start(MANY + 'builder("b", Many(name="many"))\nc["workers"][0].grace = 0.2\n')
    request = await it.submit()
    await it.until_output(request, b"\n")
    await it.stop_worker()

    async def lost() -> bool:
        first = (await it.builds(request))[0]
        return first.results is not None

    await it.until("builds", lost)
    first = (await it.builds(request))[0]
    [tests] = await sets_of(it, first.id)
    assert (tests["complete"], tests["num_results"]) == (1, 5000)


async def test_a_changed_configuration_completes_what_was_left(start: Start) -> None:
    text = MANY + 'builder("b", Many(name="many"), steps.ShellCommand(command="true", name="X"))\n'
    it = await start(text)
    request = await it.submit()
    await it.until_output(request, b"\n")
    it.configure(text.replace("X", "Y"))
    await it.restart()
    await it.until("workers", it.attached)
    (it.builddir() / "go").write_text("")
    assert (await it.finished(request)).results == SUCCESS
    first, second = await it.builds(request)
    [tests] = await sets_of(it, first.id)
    assert (first.results, tests["complete"]) == (RETRY, 1)
    assert tests["num_results"] >= 2000  # the last batches may have gone with their master
    assert [each["num_results"] for each in await sets_of(it, second.id)] == [5001, 1]
