"""The configuration as it was at one load: what the master runs until the next load succeeds.

Nothing in it changes after the load. A reload makes a new one; builds that have begun keep the builder, steps
and functions of the snapshot they began with, whose modules stay alive through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildwright.model.authz import Authz
from buildwright.model.builders import BuilderConfig
from buildwright.model.dashboards import Dashboard
from buildwright.model.errors import ConfigError
from buildwright.model.locks import Lock
from buildwright.model.logins import NO_AUTH, AuthBase
from buildwright.model.projects import Codebase, Project
from buildwright.model.properties import Properties
from buildwright.model.retention import Retention, default_retention
from buildwright.model.revlinks import default_revlink
from buildwright.model.secrets import SecretsProvider
from buildwright.model.services import Service
from buildwright.model.workers import WorkerConfig

# Schedulers and change sources have their classes above this room; here they are whatever was configured.
SchedulerConfig = Any
ChangeSourceConfig = Any


@dataclass(frozen=True, slots=True)
class WwwConfig:
    """The web server. Without a port there is none; without tokens and logins it listens on loopback only."""

    port: int | None = None
    interface: str | None = None  # None: loopback without tokens and logins, else everywhere
    certificate: Path | None = None  # TLS, together with private_key
    private_key: Path | None = None
    tokens: Mapping[str, Any] = field(default_factory=dict)  # name -> text or Secret
    allowed_origins: Sequence[str] = ()
    json_cache_seconds: int = 0
    ws_ping_interval: int = 0
    debug: bool = False
    auth: AuthBase = NO_AUTH
    authz: Authz | None = None
    session_seconds: int = 7 * 86_400
    badges: Mapping[str, Any] = field(default_factory=dict)  # options that go before those of model.badges
    dashboards: Sequence[Dashboard] = ()


@dataclass(frozen=True, slots=True)
class WorkerEndpoint:
    """Where workers connect: `/worker` of the web port, or a port of its own."""

    port: int | None = None
    interface: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One configuration, checked and complete."""

    basedir: Path
    filename: str
    builders: Mapping[str, BuilderConfig]
    workers: Mapping[str, WorkerConfig]
    schedulers: Mapping[str, SchedulerConfig]
    change_sources: Mapping[str, ChangeSourceConfig]
    properties: Properties
    locks: Mapping[str, Lock]
    projects: Mapping[str, Project] = field(default_factory=dict)
    codebases: Mapping[tuple[str, str], Codebase] = field(default_factory=dict)  # by project and name
    www: WwwConfig = WwwConfig()
    protocols: WorkerEndpoint = WorkerEndpoint()
    db_url: Any = "sqlite:///state.sqlite"  # text, or renderable with Secrets
    title: str = "Buildwright"
    title_url: str = "http://localhost:8010/"
    buildbot_url: str = "http://localhost:8010/"
    multi_master: bool = False
    collapse_requests: bool | Callable[..., Any] | None = None
    prioritize_builders: Callable[..., Any] | None = None
    select_next_worker: Callable[..., Any] | None = None
    codebase_generator: Callable[..., Any] | None = None
    revlink: Callable[..., Any] = default_revlink
    log_metrics_every: float | None = None  # seconds
    services: Mapping[str, Service] = field(default_factory=dict)
    log_store: str = "files"  # where sealed logs go: files, database, or an object store's URL
    log_compression_limit: int | None = None  # bytes from which on logs are sealed; None: as usual
    log_encoding: str | Callable[[bytes], str] = "utf-8"
    log_max_size: int | None = None  # bytes of a log that are kept; None: all
    log_max_tail_size: int | None = None  # bytes of its end that are kept beyond that
    retention: Retention = field(default_factory=default_retention)
    validation: Mapping[str, Any] = field(default_factory=dict)  # name -> compiled pattern
    secrets_providers: Sequence[SecretsProvider] = ()
    fingerprint: str = ""
    sources: Sequence[Path] = ()  # the files that this load read
    warnings: Sequence[ConfigError] = ()

    async def secret(self, name: str) -> str | None:
        """A secret's value from the first provider that knows it: what `Properties.secret_source` is set
        to.
        """
        for provider in self.secrets_providers:
            if (value := await provider.get(name)) is not None:
                return value
        return None
