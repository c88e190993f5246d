"""One builder: its history, its builds, what waits for it, and an address that names none."""

import re

from playwright.async_api import Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL
from tests.web.test_reading import BUILDS

MINE = [row for row in BUILDS if row["builderid"] == 1]
NEWEST = MINE[-1]["number"]
SCRIPT = "<img src=x onerror=document.title='ran'>"


async def test_a_builder_shows_what_it_is_and_has_done(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/waits-for-arm")
    await expect(page.locator("h1")).to_have_text("waits-for-arm")
    await expect(page.get_by_text("Builds number 1")).to_be_visible()
    await expect(page.get_by_role("list", name="Tags").get_by_role("link")).to_have_text(["linux", "odd"])
    bars = page.get_by_role("list", name="Latest builds").get_by_role("link")
    await expect(bars).to_have_count(min(len(MINE), 100))
    await expect(bars.nth(0)).to_have_accessible_name(re.compile(f"#{NEWEST}: "))
    ended = [row for row in MINE[-100:] if row["results"] in (0, 1, 2, 4)]
    good = sum(row["results"] in (0, 1) for row in ended)
    await expect(
        page.get_by_text(f"{100 * good // len(ended)} % good of the last {len(ended)}")
    ).to_be_visible()
    await expect(page.get_by_text("0 of one connected")).to_be_visible()
    assert await page.title() == "waits-for-arm"


async def test_builds_come_and_end_while_one_looks(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/1")
    rows = page.get_by_role("list", name="Builds", exact=True).get_by_role("listitem")
    await expect(rows.nth(0)).to_contain_text(f"#{NEWEST}")
    await execute(
        fresh.store,
        "INSERT INTO builds (id, number, builderid, buildrequestid, attempt, workerid, masterid, started_at,"
        f" state_string, properties) SELECT 9000, {NEWEST + 1}, 1, buildrequestid, 2, 1, 1, started_at,"
        " 'compiling anew', '{}' FROM builds WHERE id = 1",
    )
    fresh.bus.publish([Hint("builds", 9000, "new")])
    await expect(rows.nth(0)).to_contain_text(f"#{NEWEST + 1}")
    await expect(rows.nth(0)).to_contain_text("compiling anew")
    bar = page.get_by_role("list", name="Latest builds").get_by_role("link").nth(0)
    await expect(bar).to_have_accessible_name(re.compile(f"#{NEWEST + 1}: running"))
    await execute(fresh.store, "UPDATE builds SET complete_at = started_at + 1, results = 2 WHERE id = 9000")
    fresh.bus.publish([Hint("builds", 9000, "finished")])
    await expect(rows.nth(0)).to_contain_text("failure")
    await expect(bar).to_have_accessible_name(re.compile(f"#{NEWEST + 1}: failure"))


async def test_older_builds_are_a_page_away_and_shared_by_address(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/1")
    rows = page.get_by_role("list", name="Builds", exact=True).get_by_role("listitem")
    await expect(rows).to_have_count(25)
    await page.get_by_role("button", name="Older").click()
    await expect(rows.nth(0)).to_contain_text(f"#{NEWEST - 25}")
    await page.reload()
    await expect(rows.nth(0)).to_contain_text(f"#{NEWEST - 25}")
    await page.get_by_role("button", name="Newest").click()
    await expect(rows.nth(0)).to_contain_text(f"#{NEWEST}")


async def test_a_point_of_the_plot_leads_to_its_build(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/1")
    plot = page.locator(".u-over")
    await plot.wait_for()
    await plot.hover()
    await plot.click()
    await page.wait_for_url(re.compile(r"#/builders/1/builds/\d+$"))


async def test_arrows_move_along_the_strip(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/1")
    bars = page.get_by_role("list", name="Latest builds").get_by_role("link")
    await bars.nth(0).focus()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    await expect(bars.nth(2)).to_be_focused()
    await page.keyboard.press("End")
    await expect(bars.nth(0)).to_be_focused()
    await expect(page.locator(".strip a[tabindex='0']")).to_have_count(1)


async def test_what_waits_says_why_and_follows(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/1")
    waiting = page.get_by_role("region", name="Waiting")
    await expect(waiting.get_by_text("40 requests")).to_be_visible()
    await expect(waiting.get_by_text("forced <by> hand").nth(0)).to_be_visible()
    await expect(waiting.get_by_text("none of its workers is attached").nth(0)).to_be_visible()
    await execute(fresh.store, "UPDATE builders SET waits_for = 'all of them are busy' WHERE id = 1")
    fresh.bus.publish([Hint("builders", 1, "update")])
    await expect(waiting.get_by_text("all of them are busy").nth(0)).to_be_visible()


async def test_an_address_that_names_no_builder_helps(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/builder-O2")
    await expect(page.locator("h1")).to_have_text("No such builder")
    await page.get_by_role("link", name="builder-02").click()
    await expect(page.locator("h1")).to_have_text("builder-02")
    await page.goto(f"{fresh.url}/#/builders/4711")
    await expect(page.locator("h1")).to_have_text("No such builder")


async def test_a_builder_of_no_configuration_says_so(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/{SMALL.builders}")
    await expect(page.get_by_text("No running master has this builder")).to_be_visible()


async def test_names_and_texts_with_markup_are_texts(fresh: Server, page: Page) -> None:
    quoted = SCRIPT.replace("'", "''")
    await execute(
        fresh.store,
        f"UPDATE builders SET name = '{quoted}', description = '{quoted}' WHERE id = 1",
    )
    await execute(fresh.store, """UPDATE builders SET tags = '["<b>t</b>"]' WHERE id = 1""")
    await execute(fresh.store, f"UPDATE buildsets SET reason = '{quoted}'")
    await execute(fresh.store, f"UPDATE builds SET state_string = '{quoted}' WHERE builderid = 1")
    await execute(fresh.store, f"UPDATE sourcestamps SET branch = '{quoted}'")
    await page.goto(f"{fresh.url}/#/builders/1")
    await expect(page.locator("h1")).to_have_text(SCRIPT)
    rows = page.get_by_role("list", name="Builds", exact=True).get_by_role("listitem")
    await expect(rows.nth(0)).to_contain_text(SCRIPT)
    assert await page.locator("main img").count() == 0
    assert await page.title() == SCRIPT


async def test_a_phone_shows_it_without_scrolling_sideways(fresh: Server, page: Page) -> None:
    await execute(fresh.store, f"UPDATE builders SET name = '{'long-' * 30}' WHERE id = 1")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"{fresh.url}/#/builders/1")
    await expect(page.get_by_role("list", name="Builds", exact=True).get_by_role("listitem")).to_have_count(
        25
    )
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
