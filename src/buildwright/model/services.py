"""Services of a configuration: what ``c['services']`` holds, beside schedulers and change sources.

A service is an immutable value with a name that says what is wanted. The rooms above give it its meaning.
"""

from __future__ import annotations

from collections.abc import Iterable

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, location


class Service(metaclass=Checked):
    """A service of the configuration."""

    def __init__(self, name: str) -> None:
        kind = type(self).__name__
        self.where = location(self)  # for errors that only the whole configuration shows
        if expect(name, str, f"{kind}: name", "text") and not name:
            error(f"{kind}: name must not be empty", "give it any name that no other service has")
        self.name = str(name)
        self.what = f"{kind} {self.name!r}"

    @property
    def builder_names(self) -> Iterable[str]:
        """The builders that it names."""
        return ()

    def __repr__(self) -> str:
        return f"<{self.what}>"
