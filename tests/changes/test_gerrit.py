"""Gerrit's events: over a real ssh server with a scripted Gerrit behind it, and from a log over HTTP."""

import base64
import contextlib
import getpass
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from buildwright.changes.base import Found, Poll, PollError
from buildwright.changes.gerritlog import GerritEventLogPoller
from buildwright.changes.gerritstream import GerritChangeSource
from buildwright.model.errors import ConfigErrors
from buildwright.model.properties import Properties
from buildwright.model.render import Secret
from buildwright.model.sources import Change
from buildwright.plugins import changes, util
from buildwright.store import schema
from buildwright.store.base import Store
from buildwright.store.errors import StoreAway
from tests.support.gitservers import Sshd, sshd
from tests.support.polling import Master
from tests.support.processes import eventually

GIT = "https://gerrit.example.org"
PASSWORD = "http-password"


def patchset(number: int, patchset: int = 1, at: int = 1_700_000_000, **more: Any) -> dict[str, Any]:
    return {
        "type": "patchset-created",
        "eventCreatedOn": at,
        "change": {
            "project": "tools/one",
            "branch": "main",
            "number": number,
            "subject": f"Change {number}",
            "url": f"{GIT}/c/{number}",
            "owner": {"name": "Ann", "email": "ann@example.org", "username": "ann"},
        },
        "patchSet": {
            "number": patchset,
            "revision": f"{number * 100 + patchset:040x}",
            "ref": f"refs/changes/{number % 100:02d}/{number}/{patchset}",
        },
        **more,
    }


def pushed(ref: str, revision: str, at: int = 1_700_000_000) -> dict[str, Any]:
    update = {"project": "tools/one", "refName": ref, "oldRev": "1" * 40, "newRev": revision}
    return {
        "type": "ref-updated", "eventCreatedOn": at, "submitter": {"username": "bob"}, "refUpdate": update,
    }  # fmt: skip


class Log:
    """Gerrit's HTTP side: the log of events, and the files of patch sets."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.since: list[str] = []
        self.files_of: list[str] = []
        app = web.Application()
        app.router.add_get("/a/plugins/events-log/events/", self._events)
        app.router.add_get("/a/changes/{number}/revisions/{patchset}/files/", self._files)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return str(self.server.make_url("/a"))

    async def _events(self, request: web.Request) -> web.Response:
        wanted = "Basic " + base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
        if request.headers.get("Authorization") != wanted:
            return web.Response(status=401, text="Unauthorized")
        self.since.append(request.query["t1"])
        return web.Response(text="".join(json.dumps(event) + "\n" for event in self.events))

    async def _files(self, request: web.Request) -> web.Response:
        self.files_of.append(f"{request.match_info['number']}/{request.match_info['patchset']}")
        return web.Response(text=")]}'\n" + json.dumps({"/COMMIT_MSG": {}, "src/ü": {}}))


@pytest.fixture
async def gerrit_log() -> AsyncIterator[Log]:
    made = Log()
    await made.server.start_server(shutdown_timeout=1)
    yield made
    await made.server.close()


async def secret(name: str) -> str | None:
    return {"password": PASSWORD}.get(name)


async def look(poller: GerritEventLogPoller, state: Any = None) -> Found:
    return await poller.poll(Poll(state, Path("unused"), secret))


# -- the log ------------------------------------------------------------


async def test_the_log_is_read_from_the_newest_event_on(gerrit_log: Log) -> None:
    poller = changes.GerritEventLogPoller(
        gerrit_log.url, ("ci", Secret("password")), gitBaseURL=GIT, get_files=True, firstFetchLookback=2
    )
    head = "a" * 40
    gerrit_log.events = [
        patchset(7),
        pushed("refs/heads/main", head, 1_700_000_005),
        pushed("refs/heads/gone", "0" * 40),
        {"type": "comment-added", "eventCreatedOn": 1_700_000_003},
        {"type": "patchset-created", "change": {}, "patchSet": {}},
        "no event",
    ]
    with capture_logs() as logs:
        found = await look(poller, {"last_event_ts": 1_699_999_999})
    assert any("makes no sense" in str(entry.get("reason")) for entry in logs)
    assert dict(found.state) == {"last_event_ts": 1_700_000_005}
    change, push = found.changes
    assert (change.author, change.project) == ("Ann <ann@example.org>", "tools/one")
    assert (change.branch, change.revision) == ("main/7", f"{701:040x}")
    assert (change.repository, change.revlink) == (f"{GIT}/tools/one", f"{GIT}/c/7")
    assert (change.category, change.comments) == ("patchset-created", "Change 7")
    assert change.files == ["src/ü"]
    assert gerrit_log.files_of == ["7/1"]
    assert change.properties["event.patchSet.ref"] == ("refs/changes/07/7/1", "Change")
    assert change.properties["event.change.owner.username"] == ("ann", "Change")
    assert (push.author, push.branch, push.revision, push.category) == ("bob", "main", head, "ref-updated")
    again = await look(poller, found.state)
    assert gerrit_log.since[-1] == "2023-11-14 22:13:25"
    assert [each.identity for each in again.changes] == [change.identity, push.identity]
    first = await look(poller)  # which looks two days back
    assert time.time() - 2 * 86400 - 60 < first.state["last_event_ts"] < time.time() - 2 * 86400 + 60
    other = changes.GerritEventLogPoller(
        gerrit_log.url, ("ci", PASSWORD), gitBaseURL=GIT, handled_events=["patchset-created"]
    )
    assert len((await look(other)).changes) == 1


async def test_p9_a_wrong_password_of_the_log(gerrit_log: Log) -> None:
    poller = changes.GerritEventLogPoller(gerrit_log.url, ("ci", "wrong one"), gitBaseURL=GIT)
    with pytest.raises(PollError, match=r"access is denied \(401\)\. Check the user and password") as caught:
        await look(poller)
    assert "wrong one" not in str(caught.value)


# -- the stream ------------------------------------------------------------

SCRIPT = """#!/bin/sh
echo "$SSH_ORIGINAL_COMMAND" >> {here}/asked
case "$SSH_ORIGINAL_COMMAND" in
"gerrit stream-events") echo $$ >> {here}/pids; exec tail -n +1 -f {here}/events;;
"gerrit query change:7 "*) cat {here}/answer;;
esac
"""


class Gerrit:
    """What ssh users of the scripted Gerrit see."""

    def __init__(self, here: Path, server: Sshd) -> None:
        self.here = here
        self.server = server

    def tell(self, *events: Any) -> None:
        with (self.here / "events").open("a") as file:
            for event in events:
                file.write((event if isinstance(event, str) else json.dumps(event)) + "\n")

    def cut(self) -> None:
        """End the stream that is there."""
        os.kill(int((self.here / "pids").read_text().split()[-1]), signal.SIGKILL)

    @property
    def connections(self) -> int:
        return (self.here / "asked").read_text().count("stream-events")

    def source(self, **more: Any) -> GerritChangeSource:
        return changes.GerritChangeSource(
            "127.0.0.1", getpass.getuser(), self.server.port, str(self.server.directory / "client"),
            gitBaseURL=GIT, name="gerrit", **more,
        )  # fmt: skip


@pytest.fixture
def gerrit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gerrit]:
    here = tmp_path / "gerrit"
    here.mkdir()
    (here / "events").touch()
    (here / "asked").touch()
    script = here / "script"
    script.write_text(SCRIPT.format(here=here))
    script.chmod(0o755)
    with sshd(tmp_path / "sshd", script) as server:
        # The master's user knows the host; here that can't be written into the home of who runs the tests.
        known = here / "known_hosts"
        known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        tools = here / "bin"
        tools.mkdir()
        (tools / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -o UserKnownHostsFile={known} "$@"\n')
        (tools / "ssh").chmod(0o755)
        monkeypatch.setenv("PATH", str(tools), prepend=":")
        yield Gerrit(here, server)


async def revisions(store: Store) -> list[str]:
    columns = schema.changes.c
    return [each for (each,) in await store.fetch(sa.select(columns.revision).order_by(columns.id))]


@contextlib.asynccontextmanager
async def listening(store: Store, tmp_path: Path, source: GerritChangeSource) -> AsyncIterator[Master]:
    master = await Master(store, tmp_path).start()
    await master.sources.reconfigure([source])
    try:
        yield master
    finally:
        await master.sources.stop()


async def test_p1_each_event_counts_once_however_often_the_stream_breaks(
    gerrit: Gerrit, store: Store, tmp_path: Path
) -> None:
    wanted = [f"{number * 100 + 1:040x}" for number in (1, 2, 3)]
    wanted_push = "b" * 40

    async def stored(count: int) -> bool:
        return await revisions(store) == wanted[:count]

    gerrit.tell(patchset(1), "nonsense", {"type": "comment-added"})
    async with listening(store, tmp_path, gerrit.source()) as master:
        await eventually(lambda: stored(1), "the first event's change")
        gerrit.tell(patchset(2))
        await eventually(lambda: stored(2), "the second event's change")
        with capture_logs() as logs:
            gerrit.cut()

            async def complained() -> bool:
                return any("has ended" in str(entry.get("reason")) for entry in logs)

            await eventually(complained, "the end is told")
        master.clock.advance(11)
        gerrit.tell(patchset(3))
        await master.sources.sweep()
        await eventually(lambda: stored(3), "the third event's change, after the first two again")
        assert gerrit.connections == 2
        await master.sources.reconfigure([gerrit.source(handled_events=["ref-updated"])])
        gerrit.tell(patchset(4), pushed("refs/heads/main", wanted_push))
        wanted.append(wanted_push)
        await eventually(lambda: stored(4), "what the new configuration wants")
        assert gerrit.connections == 3


async def test_p1_an_event_waits_for_a_database_that_is_away(
    gerrit: Gerrit, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.run
    refused: list[Any] = []

    async def away(unit: Any, **options: Any) -> Any:
        if unit.name == "take_poll" and len(refused) < 2:
            refused.append(unit)
            raise StoreAway("the database is away")
        return await run(unit, **options)

    async def stored() -> bool:
        return await revisions(store) == [f"{101:040x}"]

    gerrit.tell(patchset(1))
    monkeypatch.setattr(store, "run", away)
    async with listening(store, tmp_path, gerrit.source()):
        await eventually(stored, "the event's change")
    assert len(refused) == 2
    assert gerrit.connections == 1


async def test_files_by_a_query(gerrit: Gerrit) -> None:
    sets = [
        {"number": number, "files": [{"file": "/COMMIT_MSG"}, {"file": f"in-{number}"}]} for number in (1, 2)
    ]
    (gerrit.here / "answer").write_text(json.dumps({"patchSets": sets}) + '\n{"type": "stats"}\n')
    gerrit.tell(patchset(7, 2))
    async with contextlib.aclosing(
        gerrit.source(get_files=True).listen(Poll(None, Path("unused")))
    ) as findings:
        found = await anext(findings)
    assert found.changes[0].files == ["in-2"]


async def test_what_a_stream_has_missed_is_looked_up_in_the_log(gerrit: Gerrit, gerrit_log: Log) -> None:
    gerrit_log.events = [patchset(1, at=1_700_000_000), patchset(2, at=1_700_000_009)]
    source = gerrit.source(
        http_url=gerrit_log.url, http_auth=("ci", Secret("password")), http_poll_interval=0.1
    )
    gerrit.tell(patchset(3, at=1_700_000_020))
    poll = Poll({"last_event_ts": 1_700_000_000}, Path("unused"), secret)
    seen: dict[str | None, dict[str, Any]] = {}
    async with contextlib.aclosing(source.listen(poll)) as findings:
        async for found in findings:
            for change in found.changes:
                seen[change.branch] = dict(found.state)
            if len(seen) == 3 and len(gerrit_log.since) > 2:
                break
    assert set(seen) == {"main/1", "main/2", "main/3"}
    assert gerrit_log.since[:2] == ["2023-11-14 22:13:20", "2023-11-14 22:13:29"]
    # What came by the stream alone doesn't move what the log is asked for.
    assert set(gerrit_log.since[1:]) == {"2023-11-14 22:13:29"}


async def test_a_host_that_is_not_known_is_refused(gerrit: Gerrit) -> None:
    (gerrit.here / "known_hosts").write_text("")
    async with contextlib.aclosing(gerrit.source().listen(Poll(None, Path("unused")))) as findings:
        with pytest.raises(PollError, match="has ended: the host's key is not the expected one"):
            await anext(findings)
    assert gerrit.connections == 0


# -- the configuration ------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gitBaseURL": None}, "has no gitBaseURL"),
        ({"handled_events": "patchset-created"}, "handled_events must be a list of names"),
        ({"gerritserver": "-oProxyCommand=x"}, "gerritserver can't be '-oProxyCommand=x'"),
        ({"gerritport": "29418"}, "gerritport must be a number"),
        ({"http_auth": "ci:pass"}, "http_auth must be (user, password)"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str) -> None:
    words = {"gerritserver": "h", "username": "ci", "gitBaseURL": GIT, **arguments}
    with pytest.raises(ConfigErrors) as caught:
        changes.GerritChangeSource(**words)
    assert message in str(caught.value)


def change(branch: str, **properties: Any) -> Change:
    made = Properties()
    for name, value in properties.items():
        made.setProperty(name.replace("_", "."), value, "test")
    return Change(branch=branch, project="p", properties=made)


def test_the_filter_looks_at_the_event() -> None:
    created = change("main/7", event_type="patchset-created", event_change_branch="main")
    push = change("main", event_type="ref-updated")
    for given, wanted in (
        ({"branch": "main"}, (True, True)),
        ({"branch": ["rel", "main"], "eventtype": "ref-updated"}, (False, True)),
        ({"branch_re": "ma"}, (True, True)),
        ({"branch_fn": lambda branch: branch == "rel"}, (False, False)),
        ({"eventtype": ["patchset-created"]}, (True, False)),
        ({"eventtype_re": "ref-.*", "project": "p"}, (False, True)),
        ({"eventtype_fn": lambda kind: kind.endswith("created"), "project": "other"}, (False, False)),
        ({}, (True, True)),
    ):
        chosen = util.GerritChangeFilter(**given)
        assert (chosen.filter_change(created), chosen.filter_change(push)) == wanted, chosen
    with pytest.raises(
        ConfigErrors, match=r"GerritChangeFilter: eventtype_re: '\(' is no regular expression"
    ):
        util.GerritChangeFilter(eventtype_re="(")
    with pytest.raises(ConfigErrors, match="GerritChangeFilter: branch_fn must be a function, not str 'x'"):
        util.GerritChangeFilter(branch_fn="x")  # type: ignore[arg-type]
