"""The page in a real browser, on the shipped web application and a real store.

`fresh` is a server whose history ends now; `page` is a browser's page of which every error, and everything
that the browser complained about, fails the test (`faults` is where they are, to be cleared by a test that
provokes some).
"""

import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright

from buildwright.store.urls import open_store
from tests.support.fill import fill_sqlite, make_sqlite
from tests.support.webserver import Server
from tests.web.conftest import FORMS, SMALL

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program is not None, "Chromium is not installed. Install it with: sudo apt-get install -y chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Server]:
    """A server whose history ends now."""
    make_sqlite(tmp_path / "state.sqlite")
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


@pytest.fixture
async def page(browser: Browser, faults: list[str]) -> AsyncIterator[Page]:
    yield watch(await browser.new_page(locale="en-US"), faults)
    assert faults == []
