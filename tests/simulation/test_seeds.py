"""P1 to P7 on the simulated installation: a sample of seeds. `make simulate` runs more.

A seed is a function of everything here: when the simulation changes, or the order in which the program does
things, it plays something else. So what a seed has found is not kept by its number but by a mutant
(tests/mutants), which takes the mending away again and must be found.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.scenarios import SCENARIOS

SEEDS = 60


def simulate(*arguments: str) -> None:
    """Run seeds in a process of their own: one in which texts hash the same every time."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_promises_hold_under_faults() -> None:
    simulate("--seeds", str(SEEDS))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_meetings(scenario: str) -> None:
    simulate("--scenario", scenario)


def test_the_same_seed_plays_the_same() -> None:
    """What is printed holds everything that happened, in order."""
    runs = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "1", "--trace"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.rpartition("seed 1:")[0]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
