"""The first page in a real browser: what it shows, what it does, and that nothing a build wrote is taken for
HTML.
"""

import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.async_api import Browser, Page, async_playwright

from buildwright.store import schema
from buildwright.store.unit import Hint
from buildwright.store.urls import open_store
from buildwright.web.auth import new_token
from tests.support.fill import fill_sqlite, make_sqlite
from tests.support.webserver import Server, execute
from tests.web.conftest import FORMS, SMALL

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
LAST = SMALL.builds
LAYOUTS = [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]


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
async def page(browser: Browser, faults: list[str]) -> AsyncIterator[Page]:
    page = await browser.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield page
    assert faults == []


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained about."""
    return []


@pytest.mark.parametrize(("width", "height", "scheme"), LAYOUTS)
async def test_every_view_fits(
    fresh: Server, browser: Browser, faults: list[str], width: int, height: int, scheme: str
) -> None:
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = await context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    await execute(fresh.store, "UPDATE test_names SET name = 'tests.' || hex(zeroblob(60)) || '.' || id")
    for view, shown in [
        ("#/", "text=arm-board >> nth=0"),
        ("#/builders/2", "summary:text('force')"),
        (f"#/builds/{LAST}", "text=Stop"),
        ("#/builds/290", "pre:has-text('line 49')"),
    ]:
        await page.goto(f"{fresh.url}/{view}")
        await page.wait_for_selector(shown)
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert faults == []
    await context.close()


async def test_a_build_is_seen_to_begin(fresh: Server, page: Page) -> None:
    await page.goto(fresh.url)
    await page.wait_for_selector(".live.on")
    await page.wait_for_selector(f"text=waits-for-arm #{await _number(fresh, LAST)}")
    await execute(fresh.store, f"UPDATE builds SET state_string = 'compiling now' WHERE id = {LAST}")
    fresh.bus.publish([Hint("builds", LAST)])
    await page.wait_for_selector("li:has-text('compiling now')")


async def test_what_a_build_left_behind_is_shown(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builds/290")
    await page.wait_for_selector("li.failure:has-text('9 passed, 1 failed')")
    await page.wait_for_selector("li:has-text('1 result'):has-text('speed, ms')")
    await page.click("summary:text('tests.test_1')")
    await page.wait_for_selector("pre:has-text('assert 1 == 2')")
    async with page.expect_download() as downloading:
        await page.click("a:text('report (5 bytes)')")
    assert (await (await downloading.value).path()).read_bytes() == b"\0\xff<b>"
    await execute(fresh.store, "UPDATE test_result_sets SET tests_failed = 4 WHERE id = 290")
    fresh.bus.publish([Hint("test_result_sets", 290, "completed")])
    await page.wait_for_selector("li.failure:has-text('9 passed, 4 failed')")
    await page.goto(f"{fresh.url}/#/builds/1")
    await page.wait_for_selector(f"h1:text-matches('#{await _number(fresh, 1)}$')")
    assert await page.locator("h2:text('Tests'):visible, h2:text('Data'):visible").count() == 0


async def test_a_log_is_shown_as_a_terminal_shows_it_at_last(fresh: Server, page: Page) -> None:
    printed = b"\x1b[1;31mred\x1b[0m\x1b]0;title\x07 herring\nreceived 4%\rreceived 100%\r\n"
    await execute(
        fresh.store, f"UPDATE logchunks SET content = x'{printed.hex()}', num_lines = 2 WHERE stream = 'o'"
    )
    await page.goto(f"{fresh.url}/#/builds/290")
    shown = page.locator("pre:has-text('herring')")
    text = await shown.inner_text()
    assert text.index("red herring\nreceived 100%\n") > 0
    assert "4%" not in text


async def test_force_and_cancel(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/2")
    await page.click("summary:text('force')")
    await page.fill("input[name=reason]", "by hand")
    await page.click("details.force button.main")
    await page.wait_for_selector("text=is waiting to be built")
    await page.goto(f"{fresh.url}/#/")
    number = page.locator("text=requests wait")
    await number.wait_for()
    assert f"{SMALL.waiting + 1} requests wait" in await number.inner_text()
    await page.click("button:text('Cancel') >> nth=0")
    await page.wait_for_selector(f"text={SMALL.waiting} requests wait")


async def test_a_token_is_asked_for(fresh: Server, page: Page, faults: list[str]) -> None:
    token, hashed = new_token()
    fresh.tokens = {hashed: "ann"}
    await page.goto(f"{fresh.url}/#/builds/{LAST}")
    await page.click("text=Stop")
    await page.fill("#token", token)
    await page.click("dialog button.main")
    await page.wait_for_selector("dialog", state="hidden")
    async with page.expect_response(lambda response: response.request.method == "POST") as answered:
        await page.click("text=Stop")
    assert (await answered.value).status == 200
    # The browser notes the refusal that made the page ask.
    assert all("401" in fault for fault in faults)
    faults.clear()


async def test_what_a_build_wrote_stays_text(fresh: Server, page: Page) -> None:
    attack = "<img src=x onerror=document.title=1><script>document.title=1</script>"
    await execute(fresh.store, f"UPDATE builds SET state_string = '{attack}' WHERE id >= {LAST - 3}")
    await execute(fresh.store, f"UPDATE steps SET name = '{attack}', state_string = '{attack}'")
    await execute(fresh.store, f"UPDATE test_results SET message = '{attack}', value = '{attack}'")
    for table, column in (("test_names", "name"), ("test_code_paths", "path"), ("build_data", "name")):
        await execute(fresh.store, f"UPDATE {table} SET {column} = '{attack}' || id")
    link = '[{"name": "click", "url": "javascript:document.title=1"}]'
    await execute(fresh.store, f"UPDATE steps SET urls = '{link}'")
    await execute(
        fresh.store, f"UPDATE logchunks SET content = x'{(attack + chr(10)).encode().hex()}', num_lines = 1"
    )
    await page.goto(f"{fresh.url}/#/builds/290")
    await page.wait_for_selector(f"text={attack[:30]} >> nth=0")
    assert await page.locator("main img, main script, main [onerror]").count() == 0
    assert await page.locator("a:text('click')").count() == 0
    await page.goto(f"{fresh.url}/#/")
    await page.wait_for_selector(f"text={attack[:30]} >> nth=0")
    assert await page.locator("main img, main script").count() == 0


async def test_it_connects_again(fresh: Server, page: Page, faults: list[str]) -> None:
    await page.goto(fresh.url)
    await page.wait_for_selector(".live.on")
    port = int(fresh.url.rpartition(":")[2])
    await fresh.stop()
    await page.wait_for_selector(".live:not(.on)")
    await execute(fresh.store, f"UPDATE builds SET state_string = 'while away' WHERE id = {LAST}")
    again = Server(fresh.store, Path(), FORMS)
    await again.start(port)
    await page.wait_for_selector(".live.on")
    await page.wait_for_selector("li:has-text('while away')")
    await again.stop()
    await page.wait_for_selector(".live:not(.on)")
    faults.clear()  # the browser notes every failed connection


async def _number(server: Server, buildid: int) -> int:
    query = sa.select(schema.builds.c.number).where(schema.builds.c.id == buildid)
    return int((await server.store.fetch(query))[0][0])
