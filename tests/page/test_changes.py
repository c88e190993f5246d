"""Changes: what came in, found by where it came from, and what became of it."""

from playwright.async_api import Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL
from tests.web.test_reading import BUILDS

LAST = SMALL.builds
NEW_CHANGE = """INSERT INTO changes
    (id, author, comments, when_us, received_at, sourcestampid, branch, revision, revlink)
    VALUES (1000, 'Eve <eve@example.org>', {comments}, 0, 0, 999, 'feature/x', 'abc', {revlink})"""


async def add_change(server: Server, comments: str, revlink: str = "NULL") -> None:
    await execute(
        server.store, "INSERT INTO sourcestamps (id, ss_hash, created_at) VALUES (999, 'stamp of the new', 0)"
    )
    await execute(server.store, NEW_CHANGE.format(comments=comments, revlink=revlink))


async def test_a_change_comes_and_its_builds_go_on(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/changes")
    rows = page.locator("main .rows > li")
    await expect(rows).to_have_count(30)
    # A build that is shown ends.
    dot = rows.first.get_by_role("link", name=f"#{BUILDS[-1]['number']}: running")
    await expect(dot).to_have_count(1)
    await execute(fresh.store, f"UPDATE builds SET complete_at = started_at, results = 2 WHERE id = {LAST}")
    fresh.bus.publish([Hint("builds", LAST, "finished")])
    await expect(rows.first.get_by_role("link", name=f"#{BUILDS[-1]['number']}: failure")).to_have_count(1)
    # A change comes in.
    await add_change(fresh, "'Add a door\n\nIt opens.'")
    fresh.bus.publish([Hint("changes", 1000, "new")])
    await expect(rows.first.get_by_role("link", name="Add a door")).to_be_visible()
    await expect(rows.first).to_contain_text("Eve")
    await expect(rows.first).to_contain_text("no build")


async def test_a_build_that_begins_appears_at_its_change(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/changes")
    second = page.locator("main .rows > li").nth(1)
    await expect(second.get_by_role("link", name=": ").first).to_be_visible()
    taken = (BUILDS[-1]["buildrequestid"], SMALL.changes - 1)
    # The newest build's buildset turns out to be for the change before as well.
    await execute(
        fresh.store, f"INSERT INTO buildset_changes VALUES ({taken[0]}, {taken[1]}) ON CONFLICT DO NOTHING"
    )
    fresh.bus.publish([Hint("builds", LAST, "new")])
    await expect(second.get_by_role("link", name=": running")).to_have_count(1)


async def test_changes_are_found(fresh: Server, page: Page) -> None:
    await add_change(fresh, "'Add a door'")
    await page.goto(f"{fresh.url}/#/changes?branch=release")
    rows = page.locator("main .rows > li")
    await expect(rows).to_have_count(SMALL.changes // 4)
    await expect(page.get_by_label("Branch")).to_have_value("release")
    await page.get_by_label("Branch").fill("feature/")
    await expect(rows).to_have_count(1)
    await page.get_by_label("Author").fill("Zoë")
    await expect(page.get_by_text("No change is like this.")).to_be_visible()
    assert "branch=feature%2F&author=Zo%C3%AB" in page.url
    await page.get_by_label("Branch").fill("")
    await page.get_by_label("Author").fill("example.org")
    await expect(page.get_by_text(f"30 of {SMALL.changes + 1}")).to_be_visible()
    await page.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(60)


async def test_one_change(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/changes/{SMALL.changes}")
    await expect(page.locator("h1")).to_have_text(f"Change number {SMALL.changes}")
    assert await page.title() == f"Change number {SMALL.changes}"
    await expect(page.get_by_role("region", name="Comment")).to_contain_text("With <b>markup</b> & quotes")
    await expect(page.get_by_role("region", name="Files").first).to_contain_text("README")
    await expect(page.get_by_role("row", name="kind fix Change")).to_be_visible()
    builds = page.get_by_role("region", name="Builds").locator("li")
    await expect(builds.filter(has_text=f"#{BUILDS[-1]['number']}").filter(has_text="running")).to_have_count(
        1
    )
    await page.get_by_role("link", name="release").click()
    await expect(page.get_by_label("Branch")).to_have_value("release")


async def test_links_of_change_sources_are_followed_if_they_are_safe(fresh: Server, page: Page) -> None:
    await add_change(fresh, "''", "'javascript:alert(1)'")
    await page.goto(f"{fresh.url}/#/changes/1000")
    await expect(page.locator("h1")).to_have_text("Change 1000")
    await expect(page.locator("dl")).to_contain_text("abc")
    await expect(page.get_by_role("link", name="abc")).to_have_count(0)
    await execute(fresh.store, "UPDATE changes SET revlink = 'https://example.org/abc' WHERE id = 1000")
    await page.reload()
    await expect(page.get_by_role("link", name="abc")).to_have_attribute("href", "https://example.org/abc")


async def test_a_change_that_is_not_there(fresh: Server, page: Page, faults: list[str]) -> None:
    await page.goto(f"{fresh.url}/#/changes/77777")
    await expect(page.locator("h1")).to_have_text("No such change")
    await expect(page.locator("main")).to_contain_text("there is no such change")
    faults.clear()  # the browser notes the 404
