"""The waterfall: blocks in the order of time, live, by tags, older ones on request."""

from playwright.async_api import FloatRect, Locator, Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL
from tests.web.test_reading import BUILDS

LAST = SMALL.builds


async def box(element: Locator) -> FloatRect:
    found = await element.bounding_box()
    assert found is not None
    return found


async def test_builds_fall(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/waterfall")
    newest = BUILDS[-1]
    column = page.get_by_role("list", name="waits-for-arm")
    mine = [row for row in reversed(BUILDS) if row["builderid"] == newest["builderid"]]
    first = column.get_by_role("link", name=f"#{newest['number']} running")
    second = column.get_by_role("link", name=f"#{mine[1]['number']} ")
    await expect(first).to_be_visible()
    assert newest["builderid"] == 1
    # The running one reaches to the top; the one before is below it.
    top = await box(column)
    assert (await box(first))["y"] - top["y"] < 2
    assert (await box(second))["y"] >= (await box(first))["y"] + (await box(first))["height"]
    # It ends: its block gets the result's colour and word.
    await execute(
        fresh.store, f"UPDATE builds SET complete_at = started_at + 1, results = 2 WHERE id = {LAST}"
    )
    fresh.bus.publish([Hint("builds", LAST, "finished")])
    await expect(column.get_by_role("link", name=f"#{newest['number']} failure")).to_be_visible()


async def test_a_running_build_grows(fresh: Server, page: Page) -> None:
    await page.clock.install()
    await page.goto(f"{fresh.url}/#/waterfall")
    first = page.get_by_role("link", name=f"waits-for-arm #{BUILDS[-1]['number']} running")
    await expect(first).to_be_visible()
    before = (await box(first))["height"]
    await page.clock.fast_forward("20:00")
    await page.wait_for_function(
        "([block, height]) => block.getBoundingClientRect().height > height + 20",
        arg=[await first.element_handle(), before],
    )


async def test_columns_are_chosen_by_tags(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/waterfall")
    heads = page.locator(".column .head")
    await expect(heads.first).to_have_text("builder-02")
    await page.get_by_role("button", name="odd").click()
    await expect(heads).to_have_text(["builder-03", "builder-05", "builder-07", "waits-for-arm"])
    # The page is filled with builds of these: none of the hundred is wasted on others.
    await expect(page.locator(".column li")).to_have_count(100)


async def test_older_builds_are_loaded_on_request(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/waterfall")
    blocks = page.locator(".column li")
    await expect(blocks).to_have_count(100)
    await page.get_by_role("button", name="Show more").click()
    await expect(blocks).to_have_count(200)


async def test_it_scrolls_inside_on_a_phone(fresh: Server, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"{fresh.url}/#/waterfall")
    inside = page.get_by_role("region", name="Builds by time and builder")
    await expect(inside.locator("li").first).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    # The names of builders stay in sight while one scrolls down.
    await inside.evaluate("(element) => element.scrollTo(0, 600)")
    await expect(inside.locator(".head").nth(1)).to_be_in_viewport()
