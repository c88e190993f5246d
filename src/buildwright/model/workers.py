"""Workers as a configuration names them. Sessions and processes live elsewhere; this is what they are allowed
to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildwright.model.arguments import Checked
from buildwright.model.errors import Where, error, expect, location, shown
from buildwright.model.locks import LockAccess
from buildwright.model.properties import Properties, json_problem
from buildwright.model.renderable import is_renderable

# A worker's name is part of file names, URLs and the store: an identifier, dots allowed.
WORKER_NAME = re.compile(r"[A-Za-z\u00a0-\U0010ffff_-][A-Za-z0-9\u00a0-\U0010ffff_.-]*\Z")
WORKER_NAME_LENGTH = 50
_RESERVED = ("debug", "change", "status")


def checked_properties(values: Any, source: str, what: str) -> Properties:
    """A dict of the configuration as properties; what can't be one is reported."""
    made = Properties()
    if values is None or not expect(values, (dict, Properties), what, "a dict"):
        return made
    if isinstance(values, Properties):
        values = {name: value for name, (value, _) in values.items()}
    for name, value in values.items():
        if not isinstance(name, str):
            error(f"{what}: a property's name must be text, not {shown(name)}")
        elif problem := json_problem(value):
            error(f"{what}: property {name!r}: {problem}")
        else:
            made.setProperty(name, value, source)
    return made


def checked_locks(locks: Any, what: str) -> list[LockAccess] | Any:
    """A list of lock accesses, or something renderable that will be one."""
    if locks is None:
        return []
    if is_renderable(locks):
        return locks
    if not expect(locks, (list, tuple), what, "a list of lock accesses"):
        return []
    good = []
    for lock in locks:
        if isinstance(lock, LockAccess):
            good.append(lock)
        elif hasattr(lock, "access"):
            error(
                f"{what}: lock {lock.name!r} lacks its mode", "write lock.access('counting') or 'exclusive'"
            )
        else:
            error(f"{what} must hold lock accesses, not {shown(lock)}")
    return good


class WorkerConfig(metaclass=Checked):
    """What every kind of worker has."""

    needs_password: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        password: Any,
        max_builds: int | None = None,
        notify_on_missing: str | Sequence[str] | None = None,
        missing_timeout: float = 3600,
        properties: Mapping[str, Any] | None = None,
        locks: Sequence[LockAccess] | None = None,
        keepalive_interval: float = 3600,
        machine_name: str | None = None,
        defaultProperties: Mapping[str, Any] | None = None,
        *,
        grace: float = 600,
        deadman: float = 3600,
    ) -> None:
        self.where: Where | None = location(self)
        self.name = name
        self.password = password
        self.max_builds = max_builds
        self.missing_timeout = missing_timeout
        self.keepalive_interval = keepalive_interval
        self.machine_name = machine_name
        self.grace = grace  # seconds that a lost worker may take to come back before its build is tried again
        self.deadman = deadman  # seconds after which a worker without a master kills its commands
        kind = f"{type(self).__name__} {name!r}"
        self._check(kind)
        self.properties = checked_properties(properties, "Worker", f"{kind}: properties")
        if isinstance(name, str):
            self.properties.setProperty("workername", name, "Worker")
        self.defaultProperties = checked_properties(defaultProperties, "Worker", f"{kind}: defaultProperties")
        self.locks: Any = checked_locks(locks, f"{kind}: locks")
        self.notify_on_missing: list[str] = _addresses(notify_on_missing, kind)

    @property
    def workername(self) -> str:
        """Another name of ``name``."""
        return self.name

    def _check(self, kind: str) -> None:
        name: Any = self.name
        if not isinstance(name, str) or not WORKER_NAME.match(name):
            error(
                f"{type(self).__name__}: the name must consist of letters, digits, '_', '-' and '.'"
                f" and not begin with a digit; this one is {shown(name)}"
            )
        elif len(name) > WORKER_NAME_LENGTH:
            error(f"{kind}: the name has {len(name)} characters, at most {WORKER_NAME_LENGTH} are possible")
        elif name in _RESERVED:
            error(f"{kind}: this name is reserved")
        password = self.password
        if self.needs_password and (password is None or (isinstance(password, str) and not password)):
            error(f"{kind}: a password is needed", "text or a util.Secret, as the worker has it")
        elif password is not None and not isinstance(password, str) and not is_renderable(password):
            error(f"{kind}: the password must be text or a Secret, not of type {type(password).__name__}")
        limit: Any = self.max_builds
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            error(f"{kind}: max_builds must be a number of 1 or more, or None, not {shown(limit)}")
        for what in ("missing_timeout", "grace", "deadman"):
            seconds = getattr(self, what)
            if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds < 0:
                error(f"{kind}: {what} must be seconds, not {shown(seconds)}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def _addresses(value: Any, kind: str) -> list[str]:
    if value is None:
        return []
    addresses = [value] if isinstance(value, str) else value
    if not isinstance(addresses, (list, tuple)) or not all(isinstance(each, str) for each in addresses):
        error(f"{kind}: notify_on_missing must be an address or a list of addresses, not {shown(value)}")
        return []
    return list(addresses)


class Worker(WorkerConfig):
    """A worker that connects with its name and password.

    Example::

        c["workers"].append(
            worker.Worker("mac", util.Secret("mac-password"), max_builds=1, properties={"os": "macos"})
        )
    """

    needs_password = True


class LocalWorker(WorkerConfig):
    """A worker that the master starts on its own machine, as a process that outlives it.

    Example::

        c["workers"].append(worker.LocalWorker("here", max_builds=2))
    """

    def __init__(self, name: str, workdir: str | None = None, **kwargs: Any) -> None:
        if "password" in kwargs:
            error(f"LocalWorker {name!r} takes no password: it makes its own")
            kwargs.pop("password")
        super().__init__(name, None, **kwargs)
        self.workdir = workdir
        if workdir is not None:
            expect(workdir, str, f"LocalWorker {name!r}: workdir", "a path")
