"""The page in a real browser, on the shipped web application and a real store.

`fresh` is a server whose history ends now; `page` is a browser's page of which every error, and everything
that the browser complained about, fails the test (`faults` is where they are, to be cleared by a test that
provokes some).

One browser serves all tests of a process, each in a context of its own; so they share a loop, and async
fixtures beside them are `pytest_asyncio.fixture(loop_scope="session")`.
"""

import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect
from pytest_asyncio import is_async_test

from buildwright.store.urls import open_store
from tests.support.fill import fill_sqlite, make_sqlite
from tests.support.webserver import Server
from tests.web.conftest import FORMS, SMALL

HERE = Path(__file__).parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]

# How long what must come may take; a machine may be busy.
expect.set_options(timeout=30_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program is not None, "Chromium is not installed. Install it with: sudo apt-get install -y chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The content of a database with our schema."""
    path = tmp_path_factory.mktemp("empty") / "state.sqlite"
    make_sqlite(path)
    return path.read_bytes()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(tmp_path: Path, empty_sqlite: bytes) -> AsyncIterator[Server]:
    """A server whose history ends now."""
    (tmp_path / "state.sqlite").write_bytes(empty_sqlite)
    fill_sqlite(tmp_path / "state.sqlite", SMALL, time.time_ns() // 1000)
    store = open_store("sqlite:///state.sqlite", tmp_path)
    await store.start()
    server = Server(store, tmp_path, FORMS)
    await server.start()
    yield server
    await server.stop()
    await store.stop()


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained about."""
    return []


def watch(page: Page, faults: list[str]) -> Page:
    """Have every error of the page, and everything it prints as one, noted."""
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    return page


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, faults: list[str]) -> AsyncIterator[Page]:
    context = await browser.new_context(locale="en-US")
    yield watch(await context.new_page(), faults)
    await context.close()
    assert faults == []
