"""Which builder, which build: what people write, and what the data API knows it by."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from buildwright.cli.client import Master, NotThere
from buildwright.cli.faults import Failure
from buildwright.model.errors import suggest


def in_path(name: str) -> str:
    """A name as one element of a path."""
    return quote(name, safe="")


def pairs(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> list[tuple[str, str]]:
    """An option's callback: NAME=VALUE as pairs."""
    found = []
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{each!r} is not NAME=VALUE")
        found.append((name, value))
    return found


async def builder_named(master: Master, name: str) -> dict[str, Any]:
    """The builder; raises Failure with what may have been meant."""
    found = await master.all("builders", name=name)
    if found:
        return found[0]
    names = [each["name"] for each in await master.all("builders", field="name")]
    if not names:
        raise Failure(f"there is no builder {name!r}, the master has none at all")
    shown = ", ".join(sorted(names)[:10]) + (", …" if len(names) > 10 else "")
    raise Failure(f"there is no builder {name!r}: {suggest(name, names) or f'there are {shown}'}")


async def build_named(master: Master, text: str) -> dict[str, Any]:
    """The build that ``BUILDER/NUMBER``, an id, or a builder (its newest build) names."""
    owners = await master.all("builders", name=text)
    builder, slash, number = text.rpartition("/")
    if not owners and number.isascii() and number.isdigit():
        if not slash:
            return await _one(master, f"builds/{number}", text)
        owner = await builder_named(master, builder)
        return await _one(master, f"builders/{owner['builderid']}/builds/{number}", text)
    owner = owners[0] if owners else await builder_named(master, text)
    builds = await master.all(f"builders/{owner['builderid']}/builds", order="-number", limit=1)
    if not builds:
        raise Failure(f"builder {text!r} has had no build yet: `buildwright force {text}` asks for one")
    return builds[0]


async def request_under_way(master: Master, text: str) -> int | None:
    """The newest build request of the builder that has not ended, if a builder is named and has one."""
    owners = await master.all("builders", name=text)
    if not owners:
        return None
    requests = await master.all(
        f"builders/{owners[0]['builderid']}/buildrequests",
        complete=False,
        order="-buildrequestid",
        limit=1,
    )
    return requests[0]["buildrequestid"] if requests else None


async def _one(master: Master, path: str, text: str) -> dict[str, Any]:
    try:
        return await master.one(path)
    except NotThere:
        raise Failure(f"there is no build {text}: `buildwright builds` lists them") from None


async def names(master: Master, kind: str) -> dict[int, str]:
    """The names of all builders or workers, by id."""
    key = f"{kind[:-1]}id"
    return {each[key]: each["name"] for each in await master.all(kind, field=["name", key])}
