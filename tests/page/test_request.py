"""A build request: what it waits for, what builds it, and on to the build."""

import re

from playwright.async_api import Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL

WAITS = SMALL.builds + 1
RUNS = SMALL.builds
DONE = 7  # its source has a patch
BEGIN = (
    "INSERT INTO builds (id, number, builderid, buildrequestid, attempt, workerid, masterid, started_at,"
    f" state_string, properties) SELECT 9000, 900, 1, {WAITS}, 1, 1, 1, started_at, 'compiling', '{{}}'"
    " FROM builds WHERE id = 1"
)


async def test_it_says_why_it_waits_as_long_as_it_does(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/buildrequests/{WAITS}")
    await expect(page.locator("h1")).to_have_text(f"Request {WAITS}")
    await expect(page.get_by_role("link", name="waits-for-arm")).to_be_visible()
    await expect(page.get_by_text("It waits: none of its workers is attached: arm-board")).to_be_visible()
    await expect(page.get_by_text("forced <by> hand")).to_be_visible()
    await expect(page.get_by_text("bob@example.org").nth(0)).to_be_visible()
    await execute(fresh.store, "UPDATE builders SET waits_for = 'all of them are busy' WHERE id = 1")
    fresh.bus.publish([Hint("builders", 1, "update")])
    await expect(page.get_by_text("It waits: all of them are busy")).to_be_visible()
    await execute(fresh.store, BEGIN)
    await execute(fresh.store, f"UPDATE buildrequests SET claimed_by = 1, claimed_at = 2 WHERE id = {WAITS}")
    fresh.bus.publish([Hint("buildrequests", WAITS, "claimed"), Hint("builds", 9000, "new")])
    await expect(page.get_by_role("link", name="waits-for-arm #900")).to_be_visible()
    await expect(page.get_by_text("It waits")).to_have_count(0)
    assert page.url.endswith(f"#/buildrequests/{WAITS}")


async def test_who_comes_from_a_form_is_led_on_to_the_build(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/1")
    await page.goto(f"{fresh.url}/#/buildrequests/{WAITS}?redirect_to_build=true")
    await expect(page.get_by_text("The build is shown as soon as it begins.")).to_be_visible()
    await execute(fresh.store, BEGIN)
    fresh.bus.publish([Hint("builds", 9000, "new")])
    await page.wait_for_url(re.compile(r"#/builders/1/builds/900$"))
    await page.go_back()
    await expect(page.locator("h1")).to_have_text("waits-for-arm")


async def test_what_it_was_for_and_what_came_of_it(fresh: Server, page: Page) -> None:
    await execute(fresh.store, f"INSERT INTO buildset_sourcestamps VALUES ({DONE}, 7)")
    await execute(
        fresh.store,
        "INSERT INTO buildrequests (id, buildsetid, builderid, priority, submitted_at)"
        f" VALUES (9000, {DONE}, 3, 0, 1)",
    )
    await page.goto(f"{fresh.url}/#/buildrequests/{DONE}")
    await expect(page.locator("main header").get_by_text("success")).to_be_visible()
    await expect(page.get_by_text("Ann: try this")).to_be_visible()
    together = page.get_by_role("region", name="Asked for together")
    await expect(together.get_by_role("link")).to_have_text(["builder-03"])
    await expect(page.get_by_role("row", name="scheduler commits")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel …")).to_have_count(0)


async def test_it_is_cancelled_and_put_forward(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/buildrequests/{WAITS}")
    await page.get_by_role("button", name="Set priority …").click()
    await page.get_by_label("Priority", exact=True).fill("12")
    await page.keyboard.press("Enter")
    await expect(page.locator("dl").get_by_text("12", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Cancel …").click()
    await page.get_by_label("Reason").fill("<b>no</b>")
    await page.get_by_role("button", name="Cancel the request").click()
    await expect(page.get_by_text("Cancelled: <b>no</b>")).to_be_visible()
    await expect(page.locator("main header").get_by_text("cancelled")).to_be_visible()


async def test_a_request_that_is_built_is_stopped(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/buildrequests/{RUNS}")
    await page.get_by_role("button", name="Cancel …").click()
    await expect(page.get_by_role("dialog").get_by_text("Its build is stopped.")).to_be_visible()


async def test_addresses_that_name_none(fresh: Server, page: Page, faults: list[str]) -> None:
    await page.goto(f"{fresh.url}/#/buildrequests/4711")
    await expect(page.locator("h1")).to_have_text("No such request")
    await page.goto(f"{fresh.url}/#/buildrequests/<img src=x>")
    await expect(page.get_by_text("<img src=x>")).to_be_visible()
    await page.locator("main").get_by_role("link", name="What waits to be built").click()
    await expect(page.locator("h1")).to_have_text("Waiting to be built")
    faults.clear()


async def test_a_phone_shows_it_without_scrolling_sideways(fresh: Server, page: Page) -> None:
    await execute(fresh.store, f"UPDATE buildsets SET reason = '{'long-' * 30}'")
    await execute(
        fresh.store, f"""UPDATE buildsets SET properties = '{{"{"n" * 60}": ["{"v" * 90}", "s"]}}'"""
    )
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"{fresh.url}/#/buildrequests/{WAITS}")
    await expect(page.get_by_text("v" * 90)).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
