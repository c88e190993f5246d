"""The secrets that were rendered in a build, which nothing that it stores or shows may hold."""

from __future__ import annotations

from collections.abc import Iterable

from buildwright.builds.build import Build
from buildwright.builds.noticing import Abort
from buildwright.builds.services import BuildServices
from buildwright.model.secrets import SecretUnavailable
from buildwright.model.text import storable
from buildwright_worker.protocol import Masker


class BuildSecrets:
    """The secrets of a build; the build's properties collect them as they are rendered."""

    def __init__(self, build: Build, services: BuildServices) -> None:
        self._build = build
        self._services = services
        self._masker: Masker | None = None
        self._masked = 0  # how many secrets the masker knows

    @property
    def values(self) -> dict[str, str]:
        """Those that were rendered so far: {name: value}."""
        return self._build.properties.secrets

    async def reveal(self, names: Iterable[str]) -> dict[str, str]:
        """The values of secrets by their names; they are masked from now on. Raises Abort for one that is
        gone.
        """
        values = self.values
        for name in names:
            if name not in values:
                try:
                    value = await self._services.secret(name)
                except SecretUnavailable as problem:
                    raise Abort(str(problem)) from problem
                if value is None:
                    raise Abort(f"the secret {name!r} is gone")
                values[name] = value
        return values

    @property
    def masker(self) -> Masker:
        """What masks them."""
        values = self.values
        if self._masker is None or self._masked != len(values):
            self._masker, self._masked = Masker(values.items()), len(values)
        return self._masker

    def mask(self, data: bytes) -> bytes:
        """Bytes that may be stored or shown."""
        return self.masker.mask(data) if self.values else data

    def shown(self, value: object) -> str:
        """A text of the step's code as people may see it."""
        return self.mask(storable(str(value)).encode()).decode("utf-8", "replace")
