"""A master that kills itself (SIGKILL) at a named point of a build's way, the N-th time it comes there.

Run like `python -m buildwright`, with DIE_AT=point and DIE_TIME=n. The points are those between which
something could be lost: around the journal's commit, after the send, after the result, around the commit of
the finish, around a directory's getting its place.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from buildwright.builds.running import RunningCommand
from buildwright.builds.writer import BuildWriter
from buildwright.cli import main
from buildwright.steps import arriving
from buildwright.steps.unpacking import place
from buildwright.store.unit import Bound
from buildwright.store.units.engine import NOTE, Part
from buildwright.workers.endpoint import Shell

POINT = os.environ.get("DIE_AT", "")
LEFT = int(os.environ.get("DIE_TIME", "1"))


def reached(point: str) -> None:
    global LEFT  # noqa: PLW0603 - counts down to death
    if point == POINT:
        LEFT -= 1
        if LEFT == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def notes(operations: list[Any]) -> bool:
    return any(isinstance(each, Bound) and each.statement is NOTE for each in operations)


def finishes(operations: list[Any]) -> bool:
    return any(isinstance(each, Part) and "finish_build" in repr(each.function) for each in operations)


commit = BuildWriter._commit


async def dying_commit(self: BuildWriter, operations: list[Any], said: dict[str, str]) -> Any:
    if notes(operations):
        reached("before journal commit")
    if finishes(operations):
        reached("before finish commit")
    result = await commit(self, operations, said)
    if notes(operations):
        reached("after journal commit")
    if finishes(operations):
        reached("after finish commit")
    return result


def dying_place(tree: Path, destination: Path) -> None:
    reached("before place")
    place(tree, destination)
    reached("after place")


send = Shell._send


async def dying_send(self: Shell, frames: list[bytes]) -> None:
    starts = any(b"workdir" in frame for frame in frames)
    await send(self, frames)
    if starts:
        reached("after send")


records: Callable[..., None] = RunningCommand.records


def dying_records(self: RunningCommand, first: int, taken: Any) -> None:
    records(self, first, taken)
    if taken[-1].kind == "r":
        reached("after result")
    else:
        reached("after output")


BuildWriter._commit = dying_commit  # type: ignore[method-assign]
arriving.place = dying_place  # type: ignore[attr-defined]
Shell._send = dying_send  # type: ignore[method-assign]
RunningCommand.records = dying_records  # type: ignore[method-assign, assignment]

if __name__ == "__main__":
    main()
