"""Resources: what the data API shows of the store, as tables of fields and paths.

A :class:`Resource` says from which tables its rows come and which fields they have; an :class:`Endpoint` is a
path to one of them or to a collection, with the condition that the path's elements put on the rows. All else
follows from these tables: filters, sorting and paging (:mod:`buildwright.web.select`), what events carry,
``application.spec``.

Some resources are not rows (the force schedulers of the configuration, the properties of one build as a
list). Their endpoints are :class:`Computed`: a coroutine gives all the objects, which are filtered and paged
in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from buildwright.web.fields import Condition, Derived, Element, Field, Number

if TYPE_CHECKING:
    from buildwright.web.paths import Params
    from buildwright.web.services import WebServices

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Resource:
    """One type of the data API. ``fields`` is by name, sorted, as the JSON shows them."""

    name: str
    plural: str
    source: sa.FromClause
    key: Element
    fields: Mapping[str, Field]
    # {name: [value, source]} as JSON text; shown as far as ``?property=`` asks.
    properties: Element | None = None
    # Buildbot filters these in Python, where a null differs from every value; SQL never finds it.
    null_differs: bool = False
    # How equal values of a sorting field are sorted by the key; by default in the field's own direction.
    ties_ascend: frozenset[str] = frozenset()

    @property
    def usual(self) -> list[str]:
        """The names of the fields that are shown when none are asked for."""
        fields = self.fields.items()
        return [name for name, each in fields if not (isinstance(each, Derived) and each.on_request)]

    @property
    def key_name(self) -> str:
        fields = self.fields.items()
        return next(name for name, each in fields if isinstance(each, Number) and each.columns[0] is self.key)


@dataclass(frozen=True, eq=False)
class Endpoint:
    """A path to rows of a resource."""

    path: str
    resource: Resource
    collection: bool
    where: Condition | None = None
    guarded: bool = False  # only who may act may read it


@dataclass(frozen=True, eq=False)
class Computed:
    """A path to objects that are no rows. ``objects`` returns None where there is nothing at the path."""

    path: str
    name: str
    plural: str
    collection: bool
    objects: Callable[[WebServices, Params], Awaitable[list[Json] | None]]
    fields: Mapping[str, str] = field(default_factory=dict)


def resource(
    name: str,
    source: sa.FromClause,
    key: Element,
    *fields: Field | tuple[Field, ...],
    plural: str | None = None,
    properties: Element | None = None,
    null_differs: bool = False,
    ties_ascend: frozenset[str] = frozenset(),
) -> Resource:
    """A resource from its fields in any order."""
    flat = [each for entry in fields for each in (entry if isinstance(entry, tuple) else (entry,))]
    by_name = {each.name: each for each in sorted(flat, key=lambda each: each.name)}
    assert len(by_name) == len(flat)
    return Resource(name, plural or name + "s", source, key, by_name, properties, null_differs, ties_ascend)


def derived_fields(fields: Mapping[str, Field]) -> list[Derived]:
    return [each for each in fields.values() if isinstance(each, Derived)]
