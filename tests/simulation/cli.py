"""The command: many seeds on several cores, or one of them with all that happened.

A few seeds at a time run in a process that is forked from one with everything imported, and goes with all
that it left suspended; a run that never ends is killed. Texts hash the same in every process, so that a seed
plays the same wherever it is run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import os
import pickle
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.simulation.run import Report, run
from tests.simulation.scenarios import SCENARIOS

LIMIT = 60  # seconds that one seed may take
BATCH = 5  # seeds that a process runs: making one costs as much as a fifth of a run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, action="append", help="run this one; may be given several times")
    parser.add_argument("--scenario", choices=sorted(SCENARIOS), help="play this instead of a seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: show all that happened")
    parser.add_argument("--faults", type=int, help="how many faults (default: 10 to 14)")
    parser.add_argument("--first-failure", action="store_true", help="end with the first seed that fails")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    given = parser.parse_args(arguments)
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *(sys.argv[1:] if arguments is None else arguments)],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    if given.scenario is not None:
        return _show(run(1, trace=given.trace, play=SCENARIOS[given.scenario]))
    seeds = given.seed or range(given.first, given.first + given.seeds)
    if len(seeds) == 1:
        return _show(run(seeds[0], faults=given.faults, trace=given.trace))
    return _many(seeds, given.faults, given.jobs, first_failure=given.first_failure)


def _show(report: Report) -> int:
    if report.trace:
        print(report.trace)
    print(summary(report))
    sys.stdout.flush()
    os._exit(1 if report.found else 0)  # what is suspended must not be woken to be tidied up


def summary(report: Report) -> str:
    """A report in lines for people."""
    faults = ", ".join(f"{count} x {kind}" for kind, count in sorted(report.kinds.items()))
    head = (
        f"seed {report.seed}: {report.builds} builds, {report.steps} steps, {report.commands} commands, "
        f"{report.incarnations} incarnations of masters, {report.faults} faults, "
        f"{report.virtual:.0f} virtual seconds in {report.seconds:.2f} s\n  {faults}"
    )
    return "\n".join([head, *(f"  {_short(line)}" for line in report.found)])


def _short(text: str) -> str:
    """A finding: of a long one its ends."""
    return text if len(text) < 900 else f"{text[:350]} [...] {text[-500:]}"


def _many(seeds: Sequence[int], faults: int | None, jobs: int, *, first_failure: bool) -> int:
    began = time.monotonic()
    failed: list[Report] = []
    total: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    live = sys.stdout.isatty()
    for count, report in enumerate(reports(seeds, faults, jobs), 1):
        for what in ("builds", "steps", "commands", "faults"):
            total[what] += getattr(report, what)
        kinds.update(report.kinds)
        if report.found:
            failed.append(report)
            print(f"{chr(13) if live else ''}{summary(report)}", flush=True)
            if first_failure:
                return 1
        if live or count % 100 == 0 or count == len(seeds):
            line = f"{count} of {len(seeds)} seeds, {len(failed)} failed, {time.monotonic() - began:.0f} s"
            print(f"\r{line}" if live else line, end="" if live else "\n", flush=True)
    print(
        f"\n{len(seeds)} seeds: {total['builds']} builds, {total['steps']} steps, "
        f"{total['commands']} commands, {total['faults']} faults in {time.monotonic() - began:.1f} s"
    )
    print("faults: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))
    if failed:
        shown = " ".join(str(report.seed) for report in sorted(failed, key=lambda report: report.seed))
        print(f"{len(failed)} failed: {shown}")
        print(f"One of them with all that happened: make simulate SEED={failed[0].seed} TRACE=1")
        return 1
    return 0


def reports(seeds: Sequence[int], faults: int | None, jobs: int) -> Iterator[Report]:
    """What became of each seed, in the order in which they end."""
    run(0, faults=0)  # everything that is made at the first use is made before the forks
    gc.collect()
    gc.freeze()
    waiting = [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)][::-1]
    running: dict[int, _Batch] = {}  # by the pipe that it writes to
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                batch = _Batch(waiting.pop(), faults)
                running[batch.pipe] = batch
            ready, _, _ = select.select(list(running), [], [], 1.0)
            for pipe in ready:
                data = os.read(pipe, 1 << 16)
                running[pipe].said += data
                if not data:
                    found, left = running.pop(pipe).end()
                    yield from found
                    if left:  # the first of them was its end
                        yield Report(left[0], ["P6 the run died, or never ended"])
                        waiting.append(left[1:])
            for batch in running.values():
                batch.kill_if_late()
    finally:
        for batch in running.values():
            batch.kill()
            batch.end()


class _Batch:
    """A process that runs some seeds and writes their reports to a pipe."""

    def __init__(self, seeds: Sequence[int], faults: int | None) -> None:
        self.seeds = seeds
        self.said = bytearray()
        self._end = time.monotonic() + LIMIT * len(seeds)
        self.pipe, theirs = os.pipe()
        self._process = os.fork()
        if self._process:
            os.close(theirs)
            return
        try:
            gc.disable()  # it is over soon
            os.close(self.pipe)
            with open(theirs, "wb") as out:  # noqa: PTH123 - a descriptor
                for seed in seeds:
                    pickle.dump(run(seed, faults=faults), out)
                    out.flush()
        finally:
            os._exit(0)

    def kill_if_late(self) -> None:
        if time.monotonic() > self._end:
            self.kill()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)

    def end(self) -> tuple[list[Report], Sequence[int]]:
        """The reports that it has written, and the seeds of which there is none."""
        os.waitpid(self._process, 0)
        os.close(self.pipe)
        said = io.BytesIO(self.said)
        found: list[Report] = []
        with contextlib.suppress(EOFError, pickle.UnpicklingError):
            while True:
                found.append(pickle.load(said))
        return found, self.seeds[len(found) :]
