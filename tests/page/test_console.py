"""Console and grid: changes against builders, in few requests, live."""

from playwright.async_api import Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL
from tests.web.test_reading import BUILDS

LAST = SMALL.builds
NUMBER = BUILDS[-1]["number"]
USED = SMALL.builders - 1  # the last builder of the fill isn't in the configuration any more


async def finish(server: Server, buildid: int, results: int) -> None:
    await execute(
        server.store,
        f"UPDATE builds SET complete_at = started_at + 1, results = {results} WHERE id = {buildid}",
    )
    server.bus.publish([Hint("builds", buildid, "finished")])


async def test_the_console_shows_changes_against_builders(fresh: Server, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/v2/" in request.url else None)
    await page.goto(f"{fresh.url}/#/console")
    table = page.get_by_role("region", name="Changes and builders").locator("table")
    await expect(table.locator("tbody tr")).to_have_count(30)
    await expect(table.locator("thead .name")).to_have_count(USED)
    first = table.locator("tbody tr").first
    await expect(first.get_by_role("rowheader")).to_contain_text(f"Change number {SMALL.changes}")
    # Builders, workers and masters, branches, and all else in one request.
    assert len(asked) <= 5, asked

    await expect(first.get_by_role("link", name=f"#{NUMBER}: running")).to_have_count(1)
    await finish(fresh, LAST, 2)
    await expect(first.get_by_role("link", name=f"#{NUMBER}: failure")).to_have_count(1)
    await first.get_by_role("link", name=f"#{NUMBER}: failure").click()
    assert page.url.endswith(f"#/builders/{BUILDS[-1]['builderid']}/builds/{NUMBER}")


async def test_the_console_is_filtered_by_tags_and_branch(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/console")
    names = page.locator("thead .name")
    await expect(names).to_have_count(USED)
    await expect(page.locator("thead .groups th")).to_have_text(["even", "odd"])
    await page.get_by_role("button", name="even").click()
    await expect(names).to_have_text(["builder-02", "builder-04", "builder-06"])
    await page.get_by_label("Branch").select_option("release")
    await expect(page.locator("tbody tr")).to_have_count(SMALL.changes // 4)
    assert "tags=even" in page.url
    assert "branch=release" in page.url
    await page.get_by_role("button", name="even").click()
    await expect(names).to_have_count(USED)


async def test_builders_without_builds_of_what_is_shown_are_left_out(fresh: Server, page: Page) -> None:
    await execute(fresh.store, """INSERT INTO builders (id, name, tags) VALUES (50, 'idle', '["odd"]')""")
    await execute(fresh.store, "INSERT INTO builder_masters VALUES (50, 1)")
    await page.goto(f"{fresh.url}/#/console")
    await expect(page.locator("thead .name")).to_have_count(USED)
    await page.get_by_label("Also builders without builds").check()
    await expect(page.locator("thead .name")).to_have_count(USED + 1)


async def test_the_grid_shows_builders_against_revisions(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/grid?revisions=5")
    heads = page.locator("thead th")
    await expect(heads).to_have_count(1 + 5)
    cell = page.get_by_role("link", name=f"#{NUMBER}: running")
    await expect(cell).to_have_count(1)
    await finish(fresh, LAST, 0)
    await expect(page.get_by_role("link", name=f"#{NUMBER}: success")).to_have_count(1)
    await page.get_by_label("How many revisions").select_option("10")
    await expect(heads).to_have_count(1 + 10)
    await page.get_by_label("Branch").select_option("main")
    await expect(page.locator("thead")).not_to_contain_text("release")
    await expect(heads).to_have_count(1 + 10)


async def test_changes_of_one_revision_are_one_column(fresh: Server, page: Page) -> None:
    await execute(
        fresh.store, f"UPDATE changes SET revision = 'same', branch = 'main' WHERE id > {SMALL.changes - 2}"
    )
    await page.goto(f"{fresh.url}/#/grid?revisions=5")
    await expect(page.locator("thead th")).to_have_count(1 + 4)
    await expect(page.locator("thead").get_by_role("link", name="same")).to_have_count(1)
    # Builds of both are in it: of the newest change, and of the one before.
    await expect(page.locator("tbody tr:not(.group) td:nth-child(2) a")).not_to_have_count(0)


async def test_both_scroll_inside_on_a_phone(fresh: Server, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    for view, label in (("console", "Changes and builders"), ("grid", "Builders and revisions")):
        await page.goto(f"{fresh.url}/#/{view}")
        inside = page.get_by_role("region", name=label)
        await expect(inside.locator("tbody tr").first).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        await inside.focus()
