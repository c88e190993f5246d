"""The arguments of a step: rendered at its start, kept in its row, and taken from there to go on with it.

A row holds what was no plain value before it was rendered, with the secrets in it marked; whether the step
was wanted; and, of a finished one, its statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from buildwright.builds.buildsecrets import BuildSecrets
from buildwright.builds.journal import Unstorable, decode, encode, hide, marks, reveal
from buildwright.builds.step import BuildStep
from buildwright.model.asking import ask, within
from buildwright.model.properties import Properties
from buildwright.model.renderable import is_plain, render


async def render_arguments(step: BuildStep, properties: Properties) -> dict[str, Any]:
    """Render a step's arguments in place; gives those that weren't plain."""
    rendered: dict[str, Any] = {}
    for name in step.all_renderables():
        value = getattr(step, name)
        if not is_plain(value):
            value = await within(f"{name} of step {step.name!r}", render(value, properties))
            setattr(step, name, value)
            if name != "locks":  # lock accesses are rendered again: a configuration's locks, not plain data
                rendered[name] = value
    return rendered


async def is_wanted(step: BuildStep, properties: Properties) -> bool:
    """What ``doStepIf`` says."""
    condition = step.doStepIf
    if condition is True:
        return True
    what = f"doStepIf of step {step.name!r}"
    if callable(condition):
        return bool(await ask(what, condition, step))
    return bool(await within(what, render(condition, properties)))


def packed(arguments: Mapping[str, Any], secrets: Mapping[str, str], *, wanted: bool) -> bytes | None:
    """Arguments for the row; None if there is nothing to say, or they can't be stored: then they are rendered
    again when the step has to be gone on with.
    """
    if wanted and not arguments:
        return None
    try:
        return encode({"arguments": hide(arguments, secrets), "wanted": wanted})
    except Unstorable:
        return None


def with_statistics(
    arguments: bytes | None, statistics: Mapping[str, Any], secrets: Mapping[str, str]
) -> bytes:
    """The same with a finished step's statistics, for whoever takes its build over. Raises Unstorable."""
    stored = {"arguments": {}, "wanted": True} if arguments is None else decode(arguments)
    return encode({**stored, "statistics": hide(statistics, secrets)})


class Unpacked(NamedTuple):
    """What a row says beside the arguments."""

    wanted: bool
    statistics: dict[str, Any]


async def unpack(
    arguments: bytes | None, step: BuildStep, properties: Properties, secrets: BuildSecrets
) -> Unpacked:
    """Give a step the arguments that its row holds; what isn't there is rendered. Raises Abort for a secret
    that is gone.
    """
    if arguments is None:
        await render_arguments(step, properties)
        return Unpacked(wanted=True, statistics={})
    known = await secrets.reveal(marks(arguments))
    stored = decode(arguments)
    for name, value in reveal(stored["arguments"], known).items():
        setattr(step, name, value)
    for name in set(step.all_renderables()) - set(stored["arguments"]):
        value = getattr(step, name)
        if not is_plain(value):
            setattr(step, name, await within(f"{name} of step {step.name!r}", render(value, properties)))
    return Unpacked(bool(stored["wanted"]), reveal(stored.get("statistics", {}), known))
