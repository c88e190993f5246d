"""What is around every view: the way in, the connection, addresses that lead nowhere."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.async_api import Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import FORMS, SMALL

LAST = SMALL.builds


async def test_home_shows_a_build_begin(fresh: Server, page: Page) -> None:
    await page.goto(fresh.url)
    await page.wait_for_selector(".live.open")
    await page.wait_for_selector("text=waits-for-arm #")
    await execute(fresh.store, f"UPDATE builds SET state_string = 'compiling now' WHERE id = {LAST}")
    fresh.bus.publish([Hint("builds", LAST)])
    await page.wait_for_selector("li:has-text('compiling now')")


async def test_an_unknown_address_helps(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/no/such/<img src=x>")
    await page.wait_for_selector("h1:text('No such page')")
    await page.click("main a:text('Home')")
    await page.wait_for_selector("h1:text('What is going on')")
    assert await page.title() != "No such page"


async def test_the_connection_comes_back_by_itself_and_nothing_is_missed(
    fresh: Server, page: Page, faults: list[str]
) -> None:
    await page.goto(fresh.url)
    await page.wait_for_selector(".live.open")
    port = int(fresh.url.rpartition(":")[2])
    await fresh.stop()
    await page.wait_for_selector("text=The connection to the master is lost")
    await execute(fresh.store, f"UPDATE builds SET state_string = 'while away' WHERE id = {LAST}")
    again = Server(fresh.store, Path(), FORMS)
    await again.start(port)
    await page.wait_for_selector("li:has-text('while away')")
    await page.wait_for_selector("text=The connection to the master is lost", state="detached")
    faults.clear()  # the browser notes every failed connection
    await again.stop()


async def test_a_phone_opens_the_menu(fresh: Server, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(fresh.url)
    about = page.get_by_role("link", name="About")
    assert not await about.is_visible()
    await page.get_by_role("button", name="Menu").click()
    await about.click()
    await page.wait_for_selector("h1:text('About')")
    assert not await about.is_visible()
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


async def test_times_are_told_by_the_masters_clock(fresh: Server, page: Page) -> None:
    await page.clock.set_fixed_time(datetime.now(UTC) - timedelta(days=3))  # the reader's is wrong
    await page.goto(fresh.url)
    finished = page.get_by_role("region", name="Lately finished").locator("time").first
    await expect(finished).to_have_text(re.compile(r"^(just now|\d+ (s|min) ago)$"))


async def test_light_and_dark_follow_the_system_until_one_chooses(fresh: Server, page: Page) -> None:
    await page.emulate_media(color_scheme="dark")
    await page.goto(fresh.url)
    root = page.locator("html")
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.emulate_media(color_scheme="light")
    await expect(root).to_have_attribute("data-theme", "light")
    await page.get_by_label("Colours").select_option("dark")
    await page.reload()
    await expect(root).to_have_attribute("data-theme", "dark")
