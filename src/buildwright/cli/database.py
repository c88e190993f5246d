"""The database of a basedir's configuration, for commands that work on it themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click

from buildwright.cli.basedir import configuration_in
from buildwright.cli.faults import Failure, show
from buildwright.config.loader import load
from buildwright.model.errors import ConfigErrors
from buildwright.model.properties import Properties
from buildwright.model.renderable import render
from buildwright.store.base import Store
from buildwright.store.errors import StoreError
from buildwright.store.migrate import State, inspect, upgrade
from buildwright.store.urls import open_store


async def database_of(basedir: Path) -> str:
    """The ``db_url`` of the configuration, with its secrets; raises Failure."""
    try:
        snapshot = load(configuration_in(basedir), basedir)
    except ConfigErrors as errors:
        show(errors.errors)
        raise click.exceptions.Exit(1) from None
    properties = Properties()
    properties.secret_source = snapshot.secret
    return str(await render(snapshot.db_url, properties))


@asynccontextmanager
async def store_of(basedir: Path) -> AsyncIterator[Store]:
    """The store, which a master may be using at the same time; made if it isn't there yet.

    ``basedir`` is absolute.
    """
    db_url = await database_of(basedir)
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
