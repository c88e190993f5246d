"""Functions of the configuration: async or plain; one that raises, hangs or gives nonsense is named, and
stops nothing else.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from buildwright.builds import choosing
from buildwright.model import asking
from buildwright.model.results import EXCEPTION, SKIPPED, SUCCESS
from buildwright.store import schema
from tests.steps.conftest import Start
from tests.support.rig import Rig

# What goes wrong -> the body of a function, and what is said.
FAULTS = {
    "raises": ('raise ValueError("no idea")', "{} failed: ValueError('no idea')"),
    "exits": ("raise SystemExit(3)", "{} raised SystemExit"),
    "cancels": ("raise asyncio.CancelledError", "{} raised CancelledError"),
    "hangs": ("time.sleep(1000)", "{} didn't come back within 0.3 s, while the master stood still"),
    "hangs on": (
        """
    while True:
        try:
            time.sleep(0.1)
        except Exception:
            pass
    """,
        "{} didn't come back within 0.3 s, while the master stood still",
    ),
    "waits": ("return asyncio.sleep(1000)", "{} didn't come back within 0.6 s"),
    "waits for nobody": (
        "return asyncio.get_running_loop().create_future()",
        "{} didn't come back within 0.6 s",
    ),
}
HEAD = "import asyncio, time\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PLAIN_SECONDS", 0.3)
    monkeypatch.setattr(asking, "WAITING_SECONDS", 0.6)
    monkeypatch.setattr(choosing, "ORDER_SECONDS", 0.6)


def faulty(fault: str, arguments: str) -> str:
    return f"{HEAD}def faulty({arguments}):\n    {FAULTS[fault][0]}\n"


def said(fault: str, what: str) -> str:
    return FAULTS[fault][1].replace("{}", what)


async def why_waiting(it: Rig, builder: str, text: str) -> None:
    """Return when it is stored of the builder that it waits for this reason."""
    column = schema.builders.c
    query = sa.select(column.waits_for).where(column.name == builder)

    async def look() -> bool:
        ((why,),) = await it.store.fetch(query)
        return bool(why == text)

    await it.until("builders", look)


CHOOSING = {
    "nextBuild": "requests",
    "nextWorker": "workers",
    "canStartBuild": "",
}


@pytest.mark.parametrize("fault", [*FAULTS, "gives nonsense"])
async def test_a_choice_that_fails_is_named_and_stops_nothing_else(fault: str, start: Start) -> None:
    nonsense = fault == "gives nonsense"
    text = "def faulty(*args):\n    return 'what?'\n" if nonsense else faulty(fault, "*args")
    places = [place for place in CHOOSING if not nonsense or CHOOSING[place]]
    for place in places:
        text += f'builder("{place}", {place}=faulty)\n'
    it = await start(text + 'builder("good", steps.ShellCommand(command="echo fine"))')
    asked = [await it.submit(place) for place in places]
    assert (await it.build("good")).results == SUCCESS
    for place in places:
        what = f"{place} of builder '{place}'"
        meaning = f"{what} gave a str 'what?', which is not one of the {CHOOSING[place]} it was given"
        await why_waiting(it, place, meaning if nonsense else said(fault, what))
    assert (await it.build("good")).results == SUCCESS
    assert [await it.builds(each) for each in asked] == [[] for _ in asked]


async def test_nobody_waits_for_one_that_takes_its_time(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "WAITING_SECONDS", 1000)
    it = await start(
        """
import asyncio, pathlib
async def thoughtful(builder, requests):
    pathlib.Path(basedir, "thinks").touch()
    while not pathlib.Path(basedir, "decided").exists():
        await asyncio.sleep(0.02)
    return requests[0]
builder("slow", nextBuild=thoughtful)
builder("good")
"""
    )
    asked = await it.submit("slow")

    async def thinks() -> bool:
        return (it.basedir / "thinks").exists()

    await it.until("builders", thinks)
    for _ in range(3):
        assert (await it.build("good")).results == SUCCESS
    assert await it.builds(asked) == []
    (it.basedir / "decided").touch()
    assert (await it.finished(asked)).results == SUCCESS


async def test_a_choice_for_all_builders_that_fails(start: Start) -> None:
    it = await start(
        """
def choose(builder, workers, request):
    if builder.name == "bad":
        raise ValueError("no idea")
    return workers[0]
c["select_next_worker"] = choose
builder("bad")
builder("good")
"""
    )
    await it.submit("bad")
    assert (await it.build("good")).results == SUCCESS
    await why_waiting(it, "bad", "select_next_worker for builder 'bad' failed: ValueError('no idea')")


async def test_one_that_works_again_is_no_reason_any_more(start: Start) -> None:
    it = await start(
        """
import itertools
calls = itertools.count()
def chosen(builder, requests):
    if next(calls) < 2:
        raise ValueError("not yet")
    return requests[0]
builder("b", nextBuild=chosen)
"""
    )
    assert (await it.build()).results == SUCCESS
    await why_waiting(it, "b", "")


ASYNC = """
async def last(builder, requests):
    return requests[-1]
async def second(builder, workers, request):
    assert {worker.workername for worker in workers} <= {"w1", "w2"}
    return next((worker for worker in workers if worker.workername == "w2"), None)
async def unless_asked(builder, worker, request):
    return request.properties.getProperty("never") is None
async def order(master, builders):
    return sorted(builders, key=lambda builder: builder.name, reverse=True)
"""
PLAIN = ASYNC.replace("async def", "def")


@pytest.mark.parametrize("text", [ASYNC, PLAIN], ids=["async", "plain"])
async def test_they_may_be_async_or_plain(text: str, start: Start) -> None:
    it = await start(
        text
        + """
c["prioritizeBuilders"] = order
c["workers"] = [worker.Worker("w1", "sesame", max_builds=1), worker.Worker("w2", "sesame", max_builds=1)]
wait = steps.ShellCommand(command="until [ -e ../../go ]; do sleep 0.02; done; touch go; echo done")
builder("first", wait, workers=["w2"])
builder("a", nextBuild=last, workers=["w2"])
builder("b", nextWorker=second, canStartBuild=unless_asked, workers=["w1", "w2"])
""",
        workers=("w1", "w2"),
    )
    blocking = await it.submit("first")
    await it.started(blocking)
    never = await it.submit("b", properties={"never": 1})
    older, newer, chosen = await it.submit("a"), await it.submit("a"), await it.submit("b")
    (it.directory / "go").touch()
    (it.directory / "w2" / "go").touch()
    builds = [await it.finished(request) for request in (older, newer, chosen)]
    assert all(built.results == SUCCESS for built in builds)
    assert [built.worker for built in builds] == ["w2", "w2", "w2"]
    by_start = sorted(builds, key=lambda built: built.id)
    assert [built.requestid for built in by_start] == [chosen, newer, older]
    assert await it.builds(never) == []


@pytest.mark.parametrize("fault", [*FAULTS, "gives nonsense", "gives strangers"])
async def test_prioritizing_that_fails_leaves_the_usual_order(
    fault: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = {"gives nonsense": "return 5", "gives strangers": "return ['a', 'b']"}
    head = (
        f"def faulty(master, builders):\n    {bodies[fault]}\n"
        if fault in bodies
        else faulty(fault, "master, builders")
    )
    it = await start(head + 'c["prioritizeBuilders"] = faulty\nbuilder("a")\nbuilder("b")\n', workers=())
    requests = [await it.submit(builder) for builder in ("a", "b", "a", "b")]
    await it.start_worker()  # both builders are looked at in one pass
    for request in requests:
        assert (await it.finished(request)).results == SUCCESS
    told = capsys.readouterr().out
    wanted = {
        "gives nonsense": "prioritizeBuilders gave a int 5, which is not a list of builders",
        "gives strangers": "prioritizeBuilders gave a str 'a', which is not one of the builders it was given",
    }
    assert (wanted.get(fault) or said(fault, "prioritizeBuilders")) in told.replace("\\'", "'")


@pytest.mark.parametrize("fault", [*FAULTS, "gives nonsense"])
async def test_collapsing_that_fails_collapses_nothing(
    fault: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = "master, builder, newer, older"
    head = (
        f"def faulty({arguments}):\n    return 1\n" if fault == "gives nonsense" else faulty(fault, arguments)
    )
    it = await start(head + 'builder("b", collapseRequests=faulty)\n', workers=())
    requests = [await it.submit() for _ in range(2)]
    await it.start_worker()
    for request in requests:
        assert (await it.finished(request)).results == SUCCESS
    what = "collapseRequests of builder 'b'"
    wanted = f"{what} gave a int 1, which is not True or False"
    told = capsys.readouterr().out.replace("\\'", "'").replace('\\"', '"')
    assert (wanted if fault == "gives nonsense" else said(fault, what)) in told


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_rule_of_ones_own_collapses(kind: str, start: Start) -> None:
    rule = f"""
{kind} rule(master, builder, newer, older):
    return newer.properties["group"][0] == older.properties["group"][0]
builder("b", collapseRequests=rule)
"""
    it = await start(rule, workers=())
    groups = ["x", "y", "x"]
    requests = [await it.submit(properties={"group": group}) for group in groups]
    await it.start_worker()
    done = schema.buildrequests.c

    async def results() -> list[int] | None:
        rows = await it.store.fetch(sa.select(done.results, done.complete).order_by(done.id))
        return [result for result, _ in rows] if all(complete for _, complete in rows) else None

    assert await it.until("buildrequests", results) == [SKIPPED, SUCCESS, SUCCESS]
    assert len(requests) == 3


IN_STEPS = [
    ("doStepIf=faulty", "doStepIf of step 'bad'"),
    ("hideStepIf=faulty", "hideStepIf of step 'bad'"),
    ("description=util.renderer(faulty)", "description of step 'bad'"),
    ("haltOnFailure=util.renderer(faulty)", "haltOnFailure of step 'bad'"),
    ("description=util.Transform(faulty, 1)", "description of step 'bad'"),
    ("description=Duck()", "description of step 'bad'"),
]
DUCK = """
class Duck:
    def getRenderingFor(self, props):
        return faulty(props)
"""


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_of_a_step_that_fails_fails_its_step(fault: str, start: Start) -> None:
    text = faulty(fault, "*args") + DUCK
    for number, (given, _) in enumerate(IN_STEPS):
        text += f"""
builder("b{number}", steps.ShellCommand(name="bad", command="echo", {given}),
        steps.ShellCommand(name="after", command="echo", alwaysRun=True))
"""
    it = await start(text + 'builder("good")')
    asked = [await it.submit(f"b{number}") for number in range(len(IN_STEPS))]
    assert (await it.build("good")).results == SUCCESS
    for request, (_, what) in zip(asked, IN_STEPS, strict=True):
        built = await it.finished(request)
        assert built.results == EXCEPTION
        assert built.outline == [("bad", EXCEPTION), ("after", SUCCESS)]
        error = built.log("bad", "err.text").text
        if fault == "raises":
            assert "ValueError: no idea" in error
            assert f"in {what}" in error
        else:
            assert said(fault, what) in error


@pytest.mark.parametrize("fault", FAULTS)
async def test_do_build_if_that_fails_fails_its_build(fault: str, start: Start) -> None:
    it = await start(faulty(fault, "build") + 'builder("b", do_build_if=faulty)\nbuilder("good")')
    asked = await it.submit()
    assert (await it.build("good")).results == SUCCESS
    built = await it.finished(asked)
    assert built.results == EXCEPTION
    assert said(fault, "do_build_if") in built.state


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_those_of_steps_may_be_async_or_plain(kind: str, start: Start) -> None:
    it = await start(
        f"""
{kind} wanted(step):
    return step.getProperty("buildername") == "b"
{kind} hidden(results, step):
    return results == util.SKIPPED
{kind} built(build):
    return build.getProperty("buildername") != "never"
def shell(name, **more):
    return steps.ShellCommand(name=name, command="true", **more)
builder("b", shell("one", doStepIf=wanted, hideStepIf=hidden), do_build_if=built)
builder("other", shell("one", doStepIf=wanted, hideStepIf=hidden))
builder("never", shell("one"), do_build_if=built)
"""
    )
    one, other, never = await it.build("b"), await it.build("other"), await it.build("never")
    assert one.outline == [("one", SUCCESS)]
    assert not one.step("one").hidden
    assert other.outline == [("one", SKIPPED)]
    assert other.step("one").hidden
    assert (never.results, never.outline) == (SKIPPED, [])


@pytest.mark.parametrize("fault", [*FAULTS, "gives nonsense"])
async def test_one_of_all_changes_that_fails_is_left_out(
    fault: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    nonsense = "def faulty(*args):\n    return 3\n"
    it = await start(
        (nonsense if fault == "gives nonsense" else faulty(fault, "*args"))
        + """
c["codebaseGenerator"] = c["revlink"] = faulty
builder("good")
c["schedulers"] += [schedulers.AnyBranchScheduler("all", builderNames=["good"])]
"""
    )
    (codebase, link), built = await built_change(it)
    assert (codebase, link, built.results) == ("", None, SUCCESS)
    told = capsys.readouterr().out.replace("\\'", "'")
    for what in ("codebaseGenerator", "revlink"):
        if fault == "gives nonsense":
            assert f"{what} must return text" in told
        else:
            problem = "no idea" if fault == "raises" else said(fault, what)
            assert f"function={what}" in told
            assert problem in told


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_those_of_all_changes_may_be_async_or_plain(kind: str, start: Start) -> None:
    it = await start(
        f"""
{kind} codebase(change):
    return "cb-" + change["branch"]
{kind} link(revision, repository):
    return f"https://example.org/{{repository}}/{{revision}}"
c["codebaseGenerator"], c["revlink"] = codebase, link
builder("good")
c["schedulers"] += [schedulers.AnyBranchScheduler("all", builderNames=["good"], codebases=["cb-main"])]
"""
    )
    (codebase, link), built = await built_change(it)
    assert (codebase, link) == ("cb-main", "https://example.org/r/ab12")
    assert built.results == SUCCESS


async def built_change(it: Rig) -> tuple[tuple[str, str | None], Any]:
    """Bring a change, and wait for the build that it starts: its codebase and link, and the build."""
    params = {"author": "ann", "branch": "main", "revision": "ab12", "repository": "r", "files": ["a"]}
    assert await it.master.core.control().add_change(params, None)
    requests, stored = schema.buildrequests.c, schema.changes.c

    async def asked() -> list[tuple[int]]:
        return [tuple(row) for row in await it.store.fetch(sa.select(requests.id))]

    ((request,),) = await it.until("buildrequests", asked)
    built = await it.finished(request)
    ((codebase, link),) = await it.store.fetch(sa.select(stored.codebase, stored.revlink))
    return (codebase, link), built


@pytest.mark.parametrize("fault", ["raises", "exits", "hangs"])
async def test_one_that_looks_at_changes(
    fault: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    it = await start(
        faulty(fault, "*args")
        + """
c["codebaseGenerator"] = c["revlink"] = faulty
builder("good")
c["schedulers"] += [
    schedulers.AnyBranchScheduler("bad", builderNames=["good"], fileIsImportant=faulty),
    schedulers.AnyBranchScheduler("filtered", builderNames=["good"],
                                  change_filter=util.ChangeFilter(filter_fn=faulty)),
    schedulers.AnyBranchScheduler("fine", builderNames=["good"]),
]
"""
    )
    params = {"author": "ann", "branch": "main", "revision": "ab12", "files": ["a"]}
    assert await it.master.core.control().add_change(params, None)
    requests = schema.buildrequests.c

    async def asked() -> list[tuple[int]]:
        return [tuple(row) for row in await it.store.fetch(sa.select(requests.id))]

    ((request,),) = await it.until("buildrequests", asked)
    built = await it.finished(request)
    assert built.results == SUCCESS
    assert built.scheduler == "fine"
    told = capsys.readouterr().out
    assert all(f"scheduler={name}" in told for name in ("bad", "filtered"))
    assert (await it.build("good")).results == SUCCESS


@pytest.mark.parametrize("fault", ["raises", "exits", "hangs"])
async def test_those_of_a_scheduler_that_fail_are_named(
    fault: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    it = await start(
        faulty(fault, "*args")
        + """
builder("good")
c["schedulers"] += [
    schedulers.AnyBranchScheduler("urgent", builderNames=["good"], priority=faulty),
    schedulers.AnyBranchScheduler("bad", builderNames=["good"], properties={"p": util.renderer(faulty)}),
]
"""
    )
    (_, _), built = await built_change(it)
    assert (built.results, built.scheduler) == (SUCCESS, "urgent")
    told: list[str] = []

    async def all_told() -> bool:
        told.append(capsys.readouterr().out.replace("\\'", "'"))
        return "a scheduler can't act" in "".join(told)

    await it.until("nothing", all_told)
    problem = {"raises": "ValueError: no idea"}.get(fault)
    for what in ("priority of AnyBranchScheduler 'urgent'", "properties of AnyBranchScheduler 'bad'"):
        assert (problem or said(fault, what)) in "".join(told)


async def test_a_limit_within_a_limit_is_the_outer_ones() -> None:
    def inner() -> None:
        asking.limited("inner", forever)

    with pytest.raises(asking.TookTooLong, match=r"^outer didn't come back"):
        asking.limited("outer", inner)
    assert asking.limited("next", lambda: 5) == 5


def forever() -> None:
    while True:
        pass


async def test_what_it_waits_for_is_cancelled() -> None:
    ended: list[str] = []

    async def patient() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append("ended")

    with pytest.raises(asking.TookTooLong):
        await asking.ask("it", patient)
    assert ended == ["ended"]


async def test_whoever_asks_may_be_cancelled() -> None:
    asked: Callable[[], object] = lambda: asyncio.sleep(1000)  # noqa: E731
    task = asyncio.create_task(asking.ask("it", asked))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
