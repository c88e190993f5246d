"""What a forced build takes over from a finished one: the properties of its form, and its changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildwright.model.properties import Properties
from buildwright.schedulers.parameters import InheritBuildParameter, Problems

if TYPE_CHECKING:
    from buildwright.store.base import Store

FORM_SOURCE: Final = "Force Build Form"
"""The source of properties that were filled in."""


class Inherited(NamedTuple):
    """What finished builds hand down, and what is wrong with the fields that name them."""

    values: dict[str, Any]
    changeids: list[int]
    problems: Problems


NOTHING: Final = Inherited({}, [], {})


async def inherit(
    store: Store, fields: Sequence[InheritBuildParameter], given: Mapping[str, Any]
) -> Inherited:
    """What the builds that a form names hand down."""
    from buildwright.store.units.history import build_numbered

    made = Inherited({}, [], {})
    for field in fields:
        chosen: dict[str, Any] = {}
        field.collect(given, chosen, {})  # what is wrong with it, the form's plan says
        builder, _, number = str(chosen.get(field.name) or "").rpartition("/")
        if not builder:
            continue
        found = await store.read(build_numbered(builder, int(number)))
        if found is None:
            made.problems[field.fullName] = f"there is no finished build {builder}/{number}"
            continue
        build, changeids = found
        made.changeids.extend(changeids)
        for name, (value, source) in Properties.from_json(build.properties).items():
            if source == FORM_SOURCE and name not in ("reason", field.name):
                made.values["orig_owner" if name == "owner" else name] = value
    return made
