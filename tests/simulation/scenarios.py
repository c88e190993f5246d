"""Meetings that chance brings about too seldom, played on purpose: `--scenario NAME`.

Each is a moment in which something could be lost or done twice. Schedules and everything else run on as in
any other run, and the same checker looks at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tests.simulation.machine import Machine, Run
from tests.simulation.run import Installation, Play
from tests.simulation.world import MasterHost

SECONDS = 20.0


async def a_worker_returns_to_its_former_master(it: Installation) -> None:
    """It was at another one meanwhile, where its command has ended; the former one has noticed nothing."""
    machine, first, second, run = await _running(it, "a", 1.0)
    first.store.unreachable = True  # it can't look whether the worker is still its own
    first.store.look()
    _move(it, machine, first, second)
    await _wait(it, lambda: run.over is not None and _attachment(it, machine) == 2)
    await asyncio.sleep(0.5)
    _move(it, machine, second, first)
    await asyncio.sleep(1.0)
    first.store.unreachable = False
    first.store.look()
    await asyncio.sleep(2.0)


async def a_hello_of_a_process_that_is_gone(it: Installation) -> None:
    """It waits for the store while the worker's next process attaches elsewhere and runs a command."""
    machine, first, second, lost = await _running(it, "a", SECONDS)
    others = [each.name for each in it.world.machines if each is not machine]
    for name in others:
        await it.people.worker(name, "pause")
    second.store.hold("attach")
    _move(it, machine, first, second)
    await asyncio.sleep(0.5)
    it.faults.counts["kill a worker"] = 1
    machine.kill()
    machine.lengths["a"] = 6.0
    await asyncio.sleep(0.1)
    first.listens, second.listens = True, False
    machine.start()
    await _wait(it, lambda: any(run.id != lost.id for run in _of(it, "a")))
    [run] = [run for run in _of(it, "a") if run.id != lost.id]
    second.store.release()
    second.listens = True
    await _wait(it, lambda: run.over is not None)
    if run.how != "ended":
        it.found.append(f"P4 a hello of the process before it ended a command that ran: {run.how}")
    for name in others:
        await it.people.worker(name, "unpause")


async def a_result_that_was_read_and_not_committed(it: Installation) -> None:
    """The worker connects again in between, and then the master dies."""
    machine, master, other, run = await _running(it, "a", 1.0)
    other.listens = False
    master.store.hold("write")
    await _wait(it, lambda: run.over is not None)
    await asyncio.sleep(0.1)
    it.world.network.reset(machine.name)
    await _wait(it, lambda: _attachment(it, machine) == 2)
    await asyncio.sleep(0.1)
    master.kill()
    await asyncio.sleep(0.2)
    master.start()
    await asyncio.sleep(3.0)


async def a_driver_that_is_refused_while_its_worker_returns(it: Installation) -> None:
    """Its worker's new attachment is committed, but not known yet; what it has read goes with it."""
    machine, master, other, run = await _running(it, "a", 1.0)
    other.listens = False
    master.store.hold("write")
    await _wait(it, lambda: run.over is not None)
    await asyncio.sleep(0.1)
    master.store.hold_answers("attach")
    it.world.network.reset(machine.name)
    await _wait(it, lambda: _attachment(it, machine) == 2)
    await asyncio.sleep(0.05)
    master.store.release("write")
    await asyncio.sleep(0.3)
    master.store.release()
    await asyncio.sleep(3.0)


async def an_attachment_that_nobody_hears_of(it: Installation) -> None:
    """The master that the worker is connected to starts nothing on it until the worker says hello again."""
    machine, first, second, _ = await _running(it, "a", 0.2)
    await _wait(it, lambda: _done(it, "a") == 1)
    others = [each.name for each in it.world.machines if each is not machine]
    for name in others:
        await it.people.worker(name, "pause")
    second.store.hold("attach")
    _move(it, machine, first, second)
    await asyncio.sleep(0.5)
    _move(it, machine, second, first)
    await _wait(it, lambda: _attachment(it, machine) == 2)
    await asyncio.sleep(0.1)
    second.store.release()
    await _wait(it, lambda: _attachment(it, machine) == 3)
    await it.people.force("a")
    if not await it.until(lambda: _done(it, "a") == 2, 20):
        it.found.append("P6 a worker is attached to a master that doesn't hear of it, and gets no work")
    for name in others:
        await it.people.worker(name, "unpause")


async def a_write_between_two_owners(it: Installation) -> None:
    """The former owner's write comes through just before the attachment of the next one."""
    machine, first, second, run = await _running(it, "a", 1.0)
    first.store.hold("write")
    second.store.hold("attach")
    await _wait(it, lambda: run.over is not None)
    await asyncio.sleep(0.1)
    _move(it, machine, first, second)
    await asyncio.sleep(0.5)
    first.store.release()
    await asyncio.sleep(0.3)
    second.store.release()
    await asyncio.sleep(2.0)


async def a_lost_build_whose_command_has_ended(it: Installation) -> None:
    """The worker comes back with it: nothing runs any more, and the next attempt can begin."""
    machine, _, _, run = await _running(it, "a", 1.0)
    it.faults.counts["cut a worker off beyond its grace"] = 1
    it.world.network.cut |= {(machine.name, master.name) for master in it.world.masters}
    await _wait(it, lambda: it.count("builds WHERE lingering = 1") == 1)
    assert run.how == "ended", run
    it.world.network.heal()
    if not await it.until(lambda: it.count("builds WHERE lingering = 1") == 0, 10):
        it.found.append("P6 a lost attempt lingers, though its command is known to have ended")


async def a_lock_whose_first_waiter_is_not_its_builders_first(it: Installation) -> None:
    """The builder's one slot is not kept for the one that stands behind it in the queue."""
    for machine in it.world.machines:
        machine.lengths.update(b=2.0, c=0.5)
    await it.people.worker("w3", "pause")
    await it.people.force("b")
    await _wait(it, lambda: next(_of(it, "b"), None) is not None)
    await it.people.force("c")
    await _wait(it, lambda: it.count("lock_claims WHERE granted = 0") == 1)
    await it.people.force("c")
    [(last,)] = it.world.database.rows("SELECT max(id) FROM buildrequests WHERE complete = 0")
    await it.people.hurry(last)
    if not await it.until(lambda: _done(it, "c") >= 2, 30):
        it.found.append("P7 two requests wait for each other: one has the lock's turn, one the builder's")
    await it.people.worker("w3", "unpause")


async def a_lock_whose_first_waiter_has_no_worker(it: Installation) -> None:
    """Whoever waits behind it must not wait until that worker comes back."""
    for machine in it.world.machines:
        machine.lengths["b"] = 1.0
    await it.people.force("b")
    await _wait(it, lambda: any(run.argv[2] == "b" for run in it.world.book.runs))
    await it.people.force("c")
    await _wait(it, lambda: it.count("lock_claims WHERE granted = 0") > 0)
    for name in ("w2", "w3"):
        await it.people.worker(name, "pause")
    await it.people.force("b")
    if not await it.until(lambda: _done(it, "b") == 2, 40):
        it.found.append("P7 a request waits for a lock behind one that can't start")
    for name in ("w2", "w3"):
        await it.people.worker(name, "unpause")


async def a_stop_of_a_running_build(it: Installation) -> None:
    """It reaches whoever drives the build, also when its hint is lost."""
    _, master, _, run = await _running(it, "a", SECONDS)
    master.store.deaf = True
    await it.people.stop()
    if not await it.until(lambda: run.over is not None, 5):
        it.found.append("P6 a stop did not reach the command")
    master.store.deaf = False


SCENARIOS: dict[str, Play] = {
    play.__name__: play
    for play in (
        a_worker_returns_to_its_former_master,
        a_hello_of_a_process_that_is_gone,
        a_result_that_was_read_and_not_committed,
        a_driver_that_is_refused_while_its_worker_returns,
        an_attachment_that_nobody_hears_of,
        a_write_between_two_owners,
        a_lost_build_whose_command_has_ended,
        a_lock_whose_first_waiter_is_not_its_builders_first,
        a_lock_whose_first_waiter_has_no_worker,
        a_stop_of_a_running_build,
    )
}


async def _running(
    it: Installation, builder: str, seconds: float
) -> tuple[Machine, MasterHost, MasterHost, Run]:
    """A build of this builder runs its first command, which takes so long: (its worker, the worker's
    master, the other master, the command).
    """
    for machine in it.world.machines:
        machine.lengths[builder] = seconds
    await it.people.force(builder)
    await _wait(it, lambda: next(_of(it, builder), None) is not None)
    run = next(_of(it, builder))
    [machine] = [each for each in it.world.machines if each.name == run.machine]
    [(name,)] = it.world.database.rows(
        "SELECT m.name FROM masters m JOIN workers w ON w.masterid = m.id WHERE w.name = ?", machine.name
    )
    masters = sorted(it.world.masters, key=lambda master: master.name != name)
    return machine, masters[0], masters[1], run


def _of(it: Installation, builder: str) -> Iterator[Run]:
    return (run for run in it.world.book.runs if run.argv[2] == builder)


def _move(it: Installation, machine: Machine, before: MasterHost, after: MasterHost) -> None:
    """Break the worker's connection, and let it find the other master; the former one doesn't hear of it."""
    before.listens, after.listens = False, True
    it.world.network.leave(machine.name, before.name)


def _attachment(it: Installation, machine: Machine) -> int:
    return int(it.world.database.rows("SELECT attachment FROM workers WHERE name = ?", machine.name)[0][0])


def _done(it: Installation, builder: str) -> int:
    return it.count(
        "builds b JOIN builders d ON d.id = b.builderid "
        f"WHERE d.name = '{builder}' AND b.complete_at IS NOT NULL"
    )


async def _wait(it: Installation, condition: object) -> None:
    assert callable(condition)
    if not await it.until(condition, SECONDS):
        raise RuntimeError("the scenario doesn't come to its point")
