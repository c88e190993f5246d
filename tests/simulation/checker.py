"""The promises, checked when a run is over: from the database's rows, the witness, and the machines' own
book.

Each finding begins with the promise that it breaks.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from buildwright.model.results import CANCELLED, EXCEPTION, RETRY
from buildwright.testing.loop import VirtualClock
from tests.simulation.config import MAX_BUILDS, ONCE, PERIOD, locks_of
from tests.simulation.machine import Run
from tests.simulation.people import People
from tests.simulation.world import World

US = 1_000_000
MINUTE_US = 60 * US
BEGIN_US = VirtualClock.START_US + 1000 * US
AWAY = (
    "cut a worker off", "cut a master off", "cut a worker off beyond its grace", "kill a worker",
    "lose a worker", "lose a master", "restart a master", "stop a master",
    "freeze a master beyond its lease",
    "the database is away beyond the leases", "a master can't reach the database", "the database is away",
)  # fmt: skip
# Why an attempt may end with RETRY: words of it, and the faults of which one must have happened then.
REASONS: dict[str, tuple[str, ...]] = {
    "the worker's process died": (
        "kill a worker", "lose a worker", "a worker is stopped", "a worker retires",
    ),
    "the worker process that ran it ended": ("kill a worker", "lose a worker", "a worker is stopped"),
    "the worker lost the command (lost)": ("a worker is stopped",),
    "the worker was away for more than": AWAY,
    "the worker lost the command (deadman)": AWAY,
    "configuration changed": ("a reload",),
    "used files of another master": (),
    "work on the master was under way": (),
    "without a master for too long": (),
}  # fmt: skip


class Built(NamedTuple):
    """A build's row."""

    id: int
    builder: str
    number: int
    requestid: int
    attempt: int
    results: int | None
    state: str
    properties: dict[str, Any]


def _built(row: tuple[Any, ...], properties: dict[str, Any]) -> Built:
    id_, builder, number, requestid, attempt, results, state, _ = row
    return Built(id_, builder, number, requestid, attempt, results, state, properties)


class LocksWatch:
    """P7 while it runs: what runs at the same time, by the book."""

    def __init__(self, world: World) -> None:
        self.found: list[str] = []
        self._running: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
        self._modes: dict[tuple[str, str], dict[tuple[str, str], bool]] = defaultdict(dict)
        self._builds: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        world.book.on_start.append(self._start)
        world.book.on_over.append(self._over)

    def _keys(self, run: Run) -> Iterator[tuple[tuple[str, str], bool]]:
        for name, exclusive, per_worker in locks_of(run.argv):
            yield (name, run.machine if per_worker else ""), exclusive

    def _start(self, run: Run) -> None:
        build = (run.argv[2], run.argv[3])
        builds = self._builds[run.machine]
        builds[build] += 1
        if len(builds) > MAX_BUILDS:
            self.found.append(
                f"P7 {len(builds)} builds run on {run.machine} at {run.began:.3f}: {sorted(builds)}"
            )
        if len({builder for builder, _ in builds}) < len(builds):
            self.found.append(
                f"P7 two builds of a builder run on {run.machine} at {run.began:.3f}: {sorted(builds)}"
            )
        for key, exclusive in self._keys(run):
            holders, modes = self._running[key], self._modes[key]
            holders[build] += 1
            modes[build] = exclusive
            most = 2 if key[0] == "pool" else 1
            if len(holders) > (1 if any(modes[each] for each in holders) else most):
                self.found.append(f"P7 lock {key} is held by {sorted(holders)} at {run.began:.3f}")

    def _over(self, run: Run) -> None:
        build = (run.argv[2], run.argv[3])
        _down(self._builds[run.machine], build)
        for key, _ in self._keys(run):
            _down(self._running[key], build)


def _down(counter: Counter[tuple[str, str]], key: tuple[str, str]) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


class Checker:
    """See the module's docstring."""

    def __init__(self, world: World, people: People, faults: set[str]) -> None:
        self._world = world
        self._people = people
        self._faults = faults
        self.found: list[str] = []
        self._rows = world.database.rows

    def check(self) -> list[str]:
        """All that is wrong."""
        builds = [
            _built(row, {name: value for name, (value, _) in json.loads(row[7]).items()})
            for row in self._rows(
                "SELECT b.id, d.name, b.number, b.buildrequestid, b.attempt, b.results, b.state_string, "
                "b.properties FROM builds b JOIN builders d ON d.id = b.builderid ORDER BY b.id"
            )
        ]
        for promise, text, at in self._rows("SELECT promise, text, at FROM w_violations"):
            self._say(promise, f"{text} (at {at:.3f})")
        self._intake()
        self._schedules()
        self._owners()
        self._commands(builds)
        self._results(builds)
        self._logs(builds)
        self._ends(builds)
        return self.found

    def _say(self, promise: str, text: str) -> None:
        self.found.append(f"{promise} {text}")

    # -- P1
    # ---------------------------------------------------------------------------------------------------

    def _intake(self) -> None:
        reasons = Counter(
            reason.rsplit(" ", 1)[-1]
            for (reason,) in self._rows("SELECT reason FROM buildsets WHERE reason LIKE '%forced%'")
        )
        for key in self._people.forced:
            if reasons[key] != 1:
                self._say("P1", f"{key} was acknowledged and led to {reasons[key]} buildsets")
        rebuilt = self._rows("SELECT id FROM buildsets WHERE rebuilt_buildid IS NOT NULL")
        wanted = sorted(buildset for _, buildset in self._people.rebuilt.values() if buildset is not None)
        if wanted != sorted(each for (each,) in rebuilt):
            self._say("P1", f"rebuilds that were acknowledged: {wanted}, that are there: {rebuilt}")
        for scheduler in ("quick", "stable"):
            used = Counter(
                revision
                for (revision,) in self._rows(
                    "SELECT c.revision FROM buildset_changes x JOIN buildsets s ON s.id = x.buildsetid "
                    "JOIN changes c ON c.id = x.changeid JOIN schedulers d ON d.id = s.schedulerid "
                    "WHERE d.name = ?",
                    scheduler,
                )
            )
            for revision in self._people.pushed:
                if used[revision] != 1:
                    self._say("P1", f"change {revision} is in {used[revision]} buildsets of {scheduler}")

    # -- P2
    # ---------------------------------------------------------------------------------------------------

    def _schedules(self) -> None:
        clocks = [master.clock.now_us() for master in self._world.masters if not master.gone]
        for name, step in (("period", int(PERIOD * US)), ("nightly", MINUTE_US)):
            rows = self._rows(
                "SELECT c.cause, c.buildsetid FROM scheduler_causes c "
                "JOIN schedulers d ON d.id = c.schedulerid WHERE d.name = ?",
                name,
            )
            points: list[int] = []
            for cause, _ in rows:
                first, _, last = cause.removeprefix("due:").partition("-")
                points += range(int(first), int(last or first) + 1, step)
            points.sort()
            gaps = {after - before for before, after in pairwise(points)}
            jumped = "a clock is set back" in self._faults
            # After a jump back a Periodic goes on from there, and a Nightly waits for what is not settled.
            if 0 in gaps if jumped else gaps - {step}:
                self._say("P2", f"{name}: due points {points} are not settled once each")
            last = points[-1] if points else BEGIN_US
            if not jumped and last + step < min(clocks) - 5 * US:
                self._say("P2", f"{name}: due points up to {last} are settled, it is {min(clocks)}")
            fired = sorted(buildsetid for _, buildsetid in rows if buildsetid is not None)
            started = sorted(
                each
                for (each,) in self._rows(
                    "SELECT s.id FROM buildsets s JOIN schedulers d ON d.id = s.schedulerid WHERE d.name = ?",
                    name,
                )
            )
            if fired != started:
                self._say("P2", f"{name}: causes led to {fired}, but it started {started}")

    # -- P3
    # ---------------------------------------------------------------------------------------------------

    def _owners(self) -> None:
        attached = {
            (workerid, attachment): writer
            for workerid, attachment, writer in self._rows(
                "SELECT workerid, attachment, writer FROM w_attached"
            )
        }
        for buildid, workerid, attachment, writer, at in self._rows(
            "SELECT buildid, workerid, attachment, writer, at FROM w_writes"
        ):
            owner = attached.get((workerid, attachment))
            if owner != writer:
                self._say(
                    "P3", f"{writer} wrote to build {buildid} at {at:.3f}, whose worker {owner} has attached"
                )

    # -- P4
    # ---------------------------------------------------------------------------------------------------

    def _commands(self, builds: list[Built]) -> None:
        starts = Counter(run.id for run in self._world.book.runs)
        for command, count in starts.items():
            if count > 1:
                self._say("P4", f"command {command} was started {count} times")
        for key, count in Counter(ONCE.begun).items():
            if count > 1:
                self._say("P4", f"work on the master of {key} was begun {count} times")
        attempts: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
        by_place = {(built.builder, str(built.number)): built for built in builds}
        for run in self._world.book.runs:
            built = by_place.get((run.argv[2], run.argv[3]))
            if built is None:
                self._say("P4", f"command {run.id} belongs to no build: {run.argv}")
                continue
            attempts[built.requestid].append((built.attempt, run.began, run.over or 1e99))
        for requestid, runs in attempts.items():
            for attempt, began, _ in runs:
                if any(before < attempt and over > began for before, _, over in runs):
                    self._say(
                        "P4",
                        f"attempt {attempt} of request {requestid} began at {began:.3f} beside an earlier",
                    )
                    break
        for buildid, count in self._rows(
            "SELECT parent_buildid, count(*) FROM buildsets WHERE parent_buildid IS NOT NULL "
            "GROUP BY parent_buildid"
        ):
            if count > 1:
                self._say("P4", f"build {buildid} has triggered {count} times")

    def _results(self, builds: list[Built]) -> None:
        stopped = self._stopped()
        children = dict(
            self._rows("SELECT parent_buildid, results FROM buildsets WHERE parent_buildid IS NOT NULL")
        )
        notes: dict[int, bytes] = defaultdict(bytes)
        for buildid, content in self._rows(
            "SELECT s.buildid, c.content FROM logchunks c JOIN logs l ON l.id = c.logid "
            "JOIN steps s ON s.id = l.stepid WHERE l.name = 'notes' ORDER BY c.logid, c.seq"
        ):
            notes[buildid] += content
        tests: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for buildid, name, value in self._rows(
            "SELECT s.buildid, n.name, r.value FROM test_results r JOIN test_result_sets s "
            "ON s.id = r.test_result_setid JOIN test_names n ON n.id = r.test_nameid ORDER BY r.id"
        ):
            tests[buildid].append((name, value))
        data = dict(self._rows("SELECT buildid, value FROM build_data WHERE name = 'census'"))
        variants = {
            buildid: int(name[-1])
            for buildid, name in self._rows("SELECT buildid, name FROM steps WHERE name LIKE 's_v_'")
        }
        for built in builds:
            what = f"{built.builder} #{built.number} (build {built.id}, request {built.requestid})"
            if built.results is None:
                continue
            if built.results == RETRY:
                self._retry(built, what)
            elif built.results == CANCELLED:
                if built.requestid not in stopped and children.get(built.id) != CANCELLED:
                    self._say("P4", f"{what} was cancelled, and nobody wanted it: {built.state}")
            elif built.results == EXCEPTION and "given up" in built.state:
                if built.attempt < 5:
                    self._say("P6", f"{what} was given up at attempt {built.attempt}")
            else:
                wanted = self._world.plan.expected(
                    built.builder,
                    built.number,
                    variants.get(built.id, 0),
                    children.get(built.id, 0),
                    str(built.id),
                )
                if built.results != wanted.results:
                    self._say(
                        "P4", f"{what} ended with {built.results} ({built.state}), not {wanted.results}"
                    )
                if wanted.notes is not None and notes.get(built.id) != wanted.notes:
                    self._say(
                        "P5", f"{what} wrote {notes.get(built.id)!r} into its own log, not {wanted.notes!r}"
                    )
                if tests.get(built.id, []) != wanted.tests:
                    self._say("P4", f"{what} has the results {tests.get(built.id)}, not {wanted.tests}")
                if data.get(built.id) != wanted.data:
                    self._say("P4", f"{what} has the data {data.get(built.id)!r}, not {wanted.data!r}")
                for name, value in wanted.properties.items():
                    if built.properties.get(name) != value:
                        self._say("P4", f"{what} has {name} = {built.properties.get(name)!r}, not {value!r}")

    def _retry(self, built: Built, what: str) -> None:
        for words, causes in REASONS.items():
            if words in built.state:
                if causes and not self._faults.intersection(causes):
                    self._say("P4", f"{what} ended with RETRY without a cause: {built.state}")
                return
        self._say("P4", f"{what} ended with RETRY for no known reason: {built.state}")

    def _stopped(self) -> set[int]:
        """The requests that somebody stopped, and those that were triggered by their builds."""
        stopped = set(self._people.tried_to_stop)
        while True:
            more = {
                requestid
                for requestid, parent in self._rows(
                    "SELECT r.id, b.buildrequestid FROM buildrequests r "
                    "JOIN buildsets s ON s.id = r.buildsetid JOIN builds b ON b.id = s.parent_buildid"
                )
                if parent in stopped
            } - stopped
            if not more:
                return stopped
            stopped |= more

    # -- P5
    # ---------------------------------------------------------------------------------------------------

    def _logs(self, builds: list[Built]) -> None:
        stored: dict[tuple[str, str], bytes] = defaultdict(bytes)
        for _, _, stream, origin, content in self._rows(
            "SELECT logid, seq, stream, origin, content FROM logchunks ORDER BY logid, seq"
        ):
            stored[origin, stream] += content
        ended = {
            (built.builder, str(built.number))
            for built in builds
            if built.results not in (None, RETRY, CANCELLED, EXCEPTION)
        }
        for run in self._world.book.runs:
            for stream, spooled in run.spooled.items():
                have = stored.get((run.id, stream), b"")
                whole = (run.argv[2], run.argv[3]) in ended
                if have != spooled if whole else not spooled.startswith(have):
                    self._say(
                        "P5",
                        f"{run.id} ({run.argv[2:5]}) {stream}: stored {have!r}, spooled {bytes(spooled)!r}",
                    )
        for logid, length, chunks, content, gaps in self._rows(
            "SELECT l.id, l.length, l.next_chunk, (SELECT coalesce(sum(length(content)), 0) FROM logchunks c "
            "WHERE c.logid = l.id), (SELECT count(*) FROM logchunks c WHERE c.logid = l.id) FROM logs l"
        ):
            if length != content or chunks != gaps:
                self._say("P5", f"log {logid} has {content} of {length} bytes in {gaps} of {chunks} chunks")

    # -- P6
    # ---------------------------------------------------------------------------------------------------

    def _ends(self, builds: list[Built]) -> None:
        for table, where in (
            ("buildsets", "complete = 0"),
            ("buildrequests", "complete = 0"),
            ("builds", "complete_at IS NULL OR lingering = 1"),
            ("steps", "complete_at IS NULL"),
            ("logs", "complete = 0"),
            ("test_result_sets", "complete = 0"),
            ("lock_claims", "1 = 1"),
            ("journal", "1 = 1"),
            ("scheduler_completions", "1 = 1"),
        ):
            left = self._rows(f"SELECT * FROM {table} WHERE {where} LIMIT 3")
            if left:
                self._say("P6", f"left in {table}: {left}")
        for requestid, results, buildsetid, overall in self._rows(
            "SELECT r.id, r.results, s.id, s.results FROM buildrequests r "
            "JOIN buildsets s ON s.id = r.buildsetid WHERE r.complete = 1 "
            "AND (SELECT count(*) FROM buildrequests q WHERE q.buildsetid = s.id) = 1"
        ):
            if results != overall:
                self._say("P6", f"request {requestid} has {results}, its buildset {buildsetid} {overall}")
        last = {built.requestid: built for built in builds}
        for requestid, results in self._rows("SELECT id, results FROM buildrequests WHERE complete = 1"):
            built = last.get(requestid)
            if built is not None and built.results not in (results, RETRY):
                self._say("P6", f"request {requestid} has {results}, its last build {built.results}")
            if built is not None and built.results == RETRY and requestid not in self._stopped():
                self._say("P6", f"request {requestid} is complete with {results}, its last build is RETRY")
            if built is not None and built.attempt > 5:
                self._say("P6", f"request {requestid} had {built.attempt} attempts")
        for requestid, at in self._people.stopped.items():
            late = [
                began
                for (began,) in self._rows(
                    "SELECT min(at) FROM w_writes w JOIN builds b ON b.id = w.buildid "
                    "WHERE b.buildrequestid = ? GROUP BY b.id",
                    requestid,
                )
                if began > at
            ]
            if late:
                self._say("P6", f"request {requestid} was stopped at {at:.3f} and a build began at {late}")
        for machine in self._world.machines:
            if machine.entries and not machine.gone:
                self._say("P6", f"the ledger of {machine.name} still lists {list(machine.entries)}")
