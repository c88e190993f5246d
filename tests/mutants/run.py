"""Break one guard of a promise at a time: each must turn its test red.

A mutant is a patch in this directory. Its head says what it takes away, the promise that this breaks, and
the test that must find it: arguments of pytest, or `simulation N` for the first N simulated seeds. For each
of them the tree is copied, the patch applied, and the test run there on the copy's code. A test that stays
green, one that is red without the patch, or a patch that no longer applies is an error.

`python tests/mutants/run.py [name ...]` runs those whose names contain one of the words.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
LIMIT = 600  # seconds that a test may take


@dataclass(frozen=True)
class Mutant:
    """A patch with what its head says."""

    name: str
    path: Path
    what: str
    test: str

    @classmethod
    def read(cls, path: Path) -> Mutant:
        head = path.read_text().partition("--- a/")[0]
        said = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
        missing = {"Takes away", "Breaks", "Test"} - said.keys()
        if missing:
            raise SystemExit(f"{path.name}: its head has no line {', '.join(sorted(missing))!r}")
        return cls(path.stem, path, f"{said['Breaks']}: {said['Takes away']}", said["Test"])


class Bench:
    """Copies of the tree to work in, and the tests that are green without a patch."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._green: dict[str, str] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=TREE,
            capture_output=True,
            check=True,
        ).stdout
        self._files = [name for name in listed.decode().split("\0") if name and (TREE / name).is_file()]

    def copy(self, name: str) -> Path:
        """A fresh copy of the tree."""
        root = self._directory / name
        for file in self._files:
            target = root / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / file, target)
        return root

    def trouble_without(self, test: str) -> str:
        """What a test says on the tree as it is; empty if it is green. Each is run once."""
        with self._lock:
            lock = self._locks.setdefault(test, threading.Lock())
        with lock:
            if test not in self._green:
                root = self.copy(f"unchanged-{len(self._locks)}-{abs(hash(test))}")
                code, said = run_test(root, test)
                self._green[test] = "" if code == 0 else said
                shutil.rmtree(root)
            return self._green[test]


def command(test: str) -> list[str]:
    """The command line of a test."""
    words = test.split()
    if words[0] == "simulation":
        return [
            sys.executable,
            "-m",
            "tests.simulation",
            "--first-failure",
            "--jobs",
            "1",
            "--seeds",
            words[1],
        ]
    return [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *words]


def run_test(root: Path, test: str) -> tuple[int, str]:
    """The exit code of a test in a tree, and what it says."""
    paths = os.pathsep.join(str(root / part) for part in ("src", "worker/src", "."))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(
            command(test),
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"not done after {LIMIT} s"
    return done.returncode, done.stdout + done.stderr


def verdict(bench: Bench, mutant: Mutant) -> str:
    """What is wrong with a mutant; empty if its test finds it."""
    root = bench.copy(mutant.name)
    try:
        applied = subprocess.run(
            ["git", "apply", "--whitespace=nowarn", str(mutant.path)],
            cwd=root,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        if applied.returncode:
            return f"the patch does not apply any more:\n{applied.stderr}"
        if trouble := bench.trouble_without(mutant.test):
            return f"its test is red without it:\n{trouble[-3000:]}"
        code, said = run_test(root, mutant.test)
        if code == 0:
            return "its test stays green"
        if code != 1:  # pytest's code for a usage error, a collection that failed, ...
            return f"its test could not be run (exit code {code}):\n{said[-3000:]}"
        return ""
    finally:
        shutil.rmtree(root)


def main(say: Callable[[str], object]) -> int:
    """Run the mutants; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only those whose names contain one of these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    mutants = [Mutant.read(path) for path in sorted(HERE.glob("*.patch"))]
    chosen = [each for each in mutants if not given.names or any(name in each.name for name in given.names)]
    wrong = 0
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as directory,
        concurrent.futures.ThreadPoolExecutor(given.jobs) as pool,
    ):
        bench = Bench(Path(directory))

        def judge(mutant: Mutant) -> tuple[Mutant, str, float]:
            began = time.monotonic()
            return mutant, verdict(bench, mutant), time.monotonic() - began

        for count, done in enumerate(
            concurrent.futures.as_completed(pool.submit(judge, m) for m in chosen), 1
        ):
            mutant, trouble, seconds = done.result()
            wrong += bool(trouble)
            found = f"WRONG: {trouble}" if trouble else "found"
            say(f"[{count}/{len(chosen)}] {mutant.name} ({mutant.what}): {found}, {seconds:.0f} s\n")
    say(f"{len(chosen)} mutants, {wrong} wrong\n")
    return 1 if wrong or not chosen else 0


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(_say))
