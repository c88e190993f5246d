"""What a row of the bench is, and what a measurement gives back."""

import math
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench.sides import Side


@dataclass(frozen=True)
class Row:
    """A named number. `limit` names the function in `bench.limits` that says what the machine could do, or is
    the number that the row's value must stay within.
    """

    name: str
    unit: str
    more_is_better: bool
    limit: str | float | None = None


@dataclass(frozen=True)
class Figure:
    """One side's value of a row, from how many runs or samples, with what the number alone doesn't say."""

    value: float
    runs: int
    note: str = ""


Measure = Callable[[Side, bool], Awaitable[dict[str, Figure]]]


@dataclass(frozen=True)
class Measurement:
    """A function that measures one side, and the rows it fills. Its second argument is true for the peer:
    fewer rounds, so that a slow row ends in minutes."""

    measure: Measure
    rows: tuple[Row, ...]


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` of all are not above."""
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


def median_of(samples: Sequence[float], note: str = "") -> Figure:
    return Figure(statistics.median(samples), len(samples), note)
