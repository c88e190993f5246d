"""The database of a basedir's configuration, for commands that work on it themselves."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from buildwright.cli.basedir import configuration_in
from buildwright.cli.faults import Failure, show
from buildwright.config.loader import load
from buildwright.model.errors import ConfigErrors
from buildwright.model.properties import Properties
from buildwright.model.renderable import SecretMissing, render
from buildwright.model.secrets import SecretUnavailable
from buildwright.model.snapshot import Snapshot
from buildwright.store.base import Store
from buildwright.store.errors import StoreError
from buildwright.store.migrate import State, inspect, upgrade
from buildwright.store.units.audit import DONE, note
from buildwright.store.urls import open_store


def configuration_of(basedir: Path) -> Snapshot:
    """The configuration; its errors are shown, and end the command."""
    try:
        return load(configuration_in(basedir), basedir)
    except ConfigErrors as errors:
        show(errors.errors)
        raise click.exceptions.Exit(1) from None


async def database_of(basedir: Path) -> str:
    """The ``db_url`` of the configuration, with its secrets; raises Failure."""
    return await url_of(configuration_of(basedir))


async def url_of(snapshot: Snapshot) -> str:
    """The ``db_url`` of a configuration, with its secrets."""
    properties = Properties()
    properties.secret_source = snapshot.secret
    try:
        return str(await render(snapshot.db_url, properties))
    except (SecretMissing, SecretUnavailable) as problem:
        raise Failure(str(problem)) from None


async def noted(store: Store, method: str, target: str, params: str = "{}") -> None:
    """Enter in the audit what this command has done."""
    who = f"{getpass.getuser()} on the command line of {socket.gethostname()}"
    now_us = time.time_ns() // 1000
    await store.run(
        note(now_us=now_us, who=who, peer=None, method=method, target=target, params=params, outcome=DONE)
    )


@asynccontextmanager
async def store_of(basedir: Path) -> AsyncIterator[Store]:
    """The store, which a master may be using at the same time; made if it isn't there yet.

    ``basedir`` is absolute.
    """
    async with opened(basedir, configuration_of(basedir)) as store:
        yield store


@asynccontextmanager
async def opened(basedir: Path, snapshot: Snapshot) -> AsyncIterator[Store]:
    """As :func:`store_of`, for a configuration that is loaded."""
    db_url = await url_of(snapshot)
    try:
        found = await inspect(db_url, basedir)
        if found.state is State.EMPTY:
            await upgrade(db_url, basedir)
        elif found.state is not State.CURRENT:
            raise Failure(found.text)
        store = open_store(db_url, basedir)
        await store.start()
        try:
            yield store
        finally:
            await store.stop()
    except StoreError as error:
        raise Failure(str(error)) from None
