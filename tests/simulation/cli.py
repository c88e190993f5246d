"""The command: many seeds on several cores, or one of them with all that happened.

Each seed runs in a process of its own, forked from one that has everything imported: nothing of one run
reaches the next, and a run that never ends is killed. Texts hash the same in every process, so that a seed
plays the same wherever it is run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import pickle
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.simulation.run import Report, run

LIMIT = 60  # seconds that one seed may take


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, action="append", help="run this one; may be given several times")
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
    seeds = given.seed or range(given.first, given.first + given.seeds)
    if len(seeds) == 1:
        return _one(seeds[0], given.faults, trace=given.trace)
    return _many(seeds, given.faults, given.jobs, first_failure=given.first_failure)


def _one(seed: int, faults: int | None, *, trace: bool) -> int:
    report = run(seed, faults=faults, trace=trace)
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
    waiting = list(reversed(seeds))
    running: dict[int, tuple[int, int, float, bytearray]] = {}  # pipe -> (process, seed, since, what it said)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                seed = waiting.pop()
                pipe, process = _forked(seed, faults)
                running[pipe] = process, seed, time.monotonic(), bytearray()
            ready, _, _ = select.select(list(running), [], [], 1.0)
            for pipe in ready:
                process, seed, _, said = running[pipe]
                data = os.read(pipe, 1 << 16)
                said += data
                if not data:
                    del running[pipe]
                    os.close(pipe)
                    os.waitpid(process, 0)
                    yield pickle.loads(said) if said else Report(seed, ["P6 the run died, or never ended"])
            for process, _, since, _ in running.values():
                if time.monotonic() - since > LIMIT:
                    os.kill(process, signal.SIGKILL)
    finally:
        for pipe, (process, *_) in running.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            os.close(pipe)


def _forked(seed: int, faults: int | None) -> tuple[int, int]:
    """A process that runs the seed: the pipe that it writes its report to, and its number."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process:
        os.close(theirs)
        return ours, process
    try:
        gc.disable()  # it is over soon
        os.close(ours)
        with open(theirs, "wb") as out:  # noqa: PTH123 - a descriptor
            pickle.dump(run(seed, faults=faults), out)
    finally:
        os._exit(0)
