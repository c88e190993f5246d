"""What steps leave behind for others to read: data of the build, and sets of test results.

Both go through the build's writer like logs do. Data is written under its name, so writing it again changes
nothing. Sets are known by their order in the step and results by theirs in the set: when the step is run
again after a takeover, as many results as are stored are skipped. A step that starts again from its
beginning loses the sets of its former try.

However many results come at once, a unit takes some thousand of them, and the rest goes into the next ones;
the step ends when all are written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from buildwright.builds.writer import BuildWriter, Nowhere
from buildwright.model.text import storable
from buildwright.store.unit import Bound, Hint
from buildwright.store.units.builddata import SET_BUILD_DATA
from buildwright.store.units.testresults import (
    ADD_SET,
    COMPLETE_SET,
    COUNTED,
    Batch,
    Result,
    StoredSet,
    add_results_work,
    complete_sets_work,
    forget_sets_work,
    sets_of_step,
)

if TYPE_CHECKING:
    from buildwright.store.base import Store
    from buildwright.store.ids import IdBlocks

DATA_MOST = 16 * 1024 * 1024
NAME_MOST = 256
BATCH = 2000

_INT4 = range(-(2**31), 2**31)
_INT8 = range(-(2**63), 2**63)


def build_data(buildid: int, name: Any, value: Any, source: Any, mask: Callable[[bytes], bytes]) -> Bound:
    """The statement that keeps data of a build. Raises TypeError, ValueError."""
    if not isinstance(name, str) or not isinstance(source, str):
        raise TypeError("the name and the source of build data must be text")
    if not isinstance(value, bytes):
        raise TypeError(f"build data {name!r} must be bytes, not {type(value).__name__}")
    if not 0 < len(name) <= NAME_MOST:
        raise ValueError(f"the name of build data has 1 to {NAME_MOST} characters, not {len(name)}")
    if len(value) > DATA_MOST:
        raise ValueError(f"build data {name!r} has {len(value)} bytes, at most {DATA_MOST} are possible")
    value = mask(value)
    name, source = (mask(storable(text).encode()).decode("utf-8", "replace") for text in (name, source))
    return SET_BUILD_DATA(buildid=buildid, name=name, value=value, length=len(value), source=source)


class _Set:
    """A set of this run of the step."""

    __slots__ = ("category", "sent", "setid", "skip")

    def __init__(self, setid: int, category: str, stored: int) -> None:
        self.setid = setid
        self.category = category
        self.skip = stored  # results that are stored and that the step's code will add again
        self.sent = stored  # how many the set has when all that was given to the writer is written


class ResultSets:
    """The test result sets of a step."""

    def __init__(
        self,
        stepid: int,
        buildid: int,
        builderid: int,
        ids: IdBlocks,
        writer: BuildWriter | Nowhere,
        mask: Callable[[bytes], bytes],
        diverged: Callable[[str], NoReturn],
        *,
        resumed: bool = False,
    ) -> None:
        self._stepid = stepid
        self._buildid = buildid
        self._builderid = builderid
        self._ids = ids
        self._writer = writer
        self._mask = mask
        self._diverged = diverged
        self._stored: dict[int, StoredSet] = {}
        self._sets: dict[int, _Set] = {}
        self._pending: deque[tuple[_Set, Result]] = deque()
        self._unseen = resumed  # an earlier owner may have made sets that aren't loaded
        self._forgotten = False
        self._finishing = False

    async def load(self, store: Store) -> None:
        """Learn what an earlier owner's run of this try has stored."""
        if not self._forgotten:
            self._unseen = False
            self._stored = {found.number: found for found in await store.read(sets_of_step(self._stepid))}

    def add_set(self, description: str | None, category: str, value_unit: str) -> int:
        """Make a set, or find the one that an earlier run of the step has made; gives its id."""
        for what, text in (("category", category), ("value_unit", value_unit)):
            if not isinstance(text, str):
                raise TypeError(f"the {what} of a test result set must be text, not {type(text).__name__}")
        category, value_unit = storable(category), storable(value_unit)
        number = len(self._sets)
        stored = self._stored.get(number)
        if stored is not None:
            if (stored.category, stored.value_unit) != (category, value_unit):
                self._diverged("the step made another test result set than before")
            self._sets[stored.setid] = _Set(stored.setid, category, stored.num_results)
            return stored.setid
        setid = self._ids.next("test_result_sets")
        self._sets[setid] = _Set(setid, category, 0)
        self._writer.add(
            ADD_SET(
                setid=setid,
                builderid=self._builderid,
                buildid=self._buildid,
                stepid=self._stepid,
                number=number,
                description=None if description is None else self._shown(description),
                category=category,
                value_unit=value_unit,
                counts=0 if category in COUNTED else None,
            ),
            Hint("test_result_sets", setid, "new"),
        )
        return setid

    def add(self, setid: int, result: Result) -> None:
        """Add a result to a set of this step. Raises LookupError, TypeError, ValueError."""
        found = self._sets.get(setid)
        if found is None:
            raise LookupError(f"this step has no test result set {setid}")
        checked = self._checked(result)
        if found.skip:
            found.skip -= 1
        elif not isinstance(self._writer, Nowhere):
            self._pending.append((found, checked))
            self._writer.mark(self)

    def gather(self, writer: BuildWriter) -> None:
        """Add a batch, and at last the sets' ends, to the unit that is being made."""
        taken: dict[_Set, list[Result]] = {}
        for _ in range(min(BATCH, len(self._pending))):
            found, result = self._pending.popleft()
            taken.setdefault(found, []).append(result)
        batches = []
        for found, results in taken.items():
            batches.append(Batch(found.setid, found.category, found.sent, results))
            found.sent += len(results)
        if batches:
            writer.call(add_results_work, self._builderid, batches)
        if self._pending:
            writer.after_commit(lambda: writer.mark(self))
        elif self._finishing:
            for setid in self._sets.keys() | {stored.setid for stored in self._stored.values()}:
                writer.add(COMPLETE_SET(setid=setid), Hint("test_result_sets", setid, "completed"))

    async def drain(self) -> None:
        """Wait until what is left fits into one unit. Raises Fenced when the build has another owner."""
        while len(self._pending) > BATCH:
            self._writer.mark(self)
            await self._writer.flush()

    def close(self) -> None:
        """Complete all sets with the next unit; :meth:`drain` comes before."""
        if self._unseen:
            self._writer.call(complete_sets_work, self._buildid)
        if self._sets or self._stored:
            self._finishing = True
            self._writer.mark(self)

    def begin_try(self) -> None:
        """The step starts again from its beginning: forget what its former try has made."""
        self._writer.call(forget_sets_work, self._stepid)
        self._stored, self._sets, self._forgotten, self._unseen = {}, {}, True, False
        self._pending.clear()

    def _checked(self, result: Result) -> Result:
        value, name, path, line, duration, message = result
        if not isinstance(value, str):
            raise TypeError(f"the value of a test result must be text, not {type(value).__name__}")
        for what, number, room in (("line", line, _INT4), ("duration_ns", duration, _INT8)):
            if number is None:
                continue
            if not isinstance(number, int):
                raise TypeError(f"the {what} of a test result must be a number, not {type(number).__name__}")
            if number not in room:
                raise ValueError(f"the {what} of a test result is out of range: {number}")
        return Result(
            self._shown(value), self._text(name), self._text(path), line, duration, self._text(message)
        )

    def _text(self, text: str | None) -> str | None:
        if text is not None and not isinstance(text, str):
            raise TypeError(f"a test result's names and message are text, not {type(text).__name__}")
        return None if text is None else self._shown(text)

    def _shown(self, text: str) -> str:
        text = storable(text)
        masked = self._mask(text.encode())
        return masked.decode("utf-8", "replace")
