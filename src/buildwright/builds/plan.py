"""Which steps a build has yet to run: those of its factory, and those that its steps add. And their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from buildwright.builds.step import NAME_MOST
from buildwright.model.builders import StepSpec


@dataclass(slots=True)
class Planned:
    """A step that is yet to run. ``configured``: its place in the factory, None if a step has added it."""

    spec: StepSpec
    configured: int | None


class Plan:
    """The steps of a build that are yet to run, in order; the names that are taken."""

    def __init__(self, configured: Sequence[StepSpec]) -> None:
        self.steps = [Planned(spec, place) for place, spec in enumerate(configured)]
        self.names: set[str] = set()

    def add(self, steps: Iterable[Any], *, after_current: bool) -> None:
        """Steps that the current step puts into the build."""
        planned = []
        for step in steps:
            spec = step if isinstance(step, StepSpec) else getattr(step, "_spec", None)
            if not isinstance(spec, StepSpec):
                raise TypeError(f"only steps can be added to a build, not {step!r}")
            planned.append(Planned(spec, None))
        if after_current:
            self.steps[:0] = planned
        else:
            self.steps.extend(planned)

    def next_begun(self, *, terminated: bool) -> Planned | None:
        """The next step that has a row: after a failure only those with alwaysRun have one."""
        while self.steps:
            planned = self.steps.pop(0)
            if not terminated or planned.spec.instantiate().alwaysRun:
                return planned
        return None

    def unique_name(self, name: str) -> str:
        """A name that no other step of the build has; it is taken by that."""
        base = name[:NAME_MOST]
        unique, count = base, 0
        while unique in self.names:
            count += 1
            suffix = f"_{count}"
            unique = base[: NAME_MOST - len(suffix)] + suffix
        self.names.add(unique)
        return unique
