"""Workers: who is there, what they run and have run, and what can be asked of them."""

from playwright.async_api import Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL
from tests.web.test_reading import BUILDS

LAST = SMALL.builds


async def test_workers_are_listed_with_what_they_run(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/workers")
    arm = page.locator("li", has_text="arm-board")
    await expect(arm.get_by_text("away")).to_be_visible()
    busy = page.locator("main li", has=page.get_by_role("link", name=f"#{BUILDS[-1]['number']}"))
    await expect(busy.get_by_text("connected")).to_be_visible()

    # A worker comes, a build ends: the list follows.
    await execute(fresh.store, "UPDATE workers SET connected = 1 WHERE id = 1")
    fresh.bus.publish([Hint("workers", 1, "connected")])
    await expect(arm.get_by_text("connected")).to_be_visible()
    await execute(
        fresh.store, f"UPDATE builds SET complete_at = started_at + 1, results = 0 WHERE id = {LAST}"
    )
    fresh.bus.publish([Hint("builds", LAST, "finished")])
    await expect(busy).to_have_count(0)


async def test_workers_are_found_by_what_is_said_of_them(fresh: Server, page: Page) -> None:
    await execute(fresh.store, """UPDATE workers SET info = '{"host": "Plan 9"}' WHERE id = 2""")
    await execute(fresh.store, "INSERT INTO workers (id, name) VALUES (50, 'long-gone')")
    await page.goto(f"{fresh.url}/#/workers")
    rows = page.locator("main .rows > li")
    await expect(rows).to_have_count(SMALL.workers)
    await page.get_by_role("searchbox").fill("plan")
    await expect(rows).to_have_count(1)
    assert page.url.endswith("#/workers?q=plan")
    await page.get_by_role("searchbox").fill("")
    await page.get_by_label("Which workers").select_option("old")
    await expect(rows).to_have_text(["long-gone away serves 0 builders"])


async def test_a_worker_is_paused_and_resumed(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/workers/worker-2")
    await expect(page.locator("h1")).to_have_text("worker-2")
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_label("Reason").fill("new disk")
    await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    await expect(page.get_by_text("Paused: new disk")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("Paused: new disk")).to_have_count(0)
    await expect(page.get_by_role("button", name="Pause")).to_be_visible()


async def test_killing_a_worker_is_asked_about_first(fresh: Server, page: Page) -> None:
    calls = []
    page.on("request", lambda request: calls.append(request.post_data) if request.method == "POST" else None)
    await page.goto(f"{fresh.url}/#/workers/2")
    await page.get_by_role("button", name="Kill").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("button", name="Stop when idle").click()
    await page.get_by_role("dialog").get_by_role("button", name="Stop when idle").click()
    await expect(page.locator("header").get_by_text("ends when idle")).to_be_visible()
    await page.get_by_role("button", name="Kill").click()
    await page.get_by_role("button", name="Kill the worker").click()
    await expect(page.get_by_text("was told to end at once")).to_be_visible()
    assert ['"method":"stop"' in body for body in calls] == [True, False]


async def test_what_a_worker_has_run_is_paged(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/workers/2")
    rows = page.get_by_role("region", name="What it has run").locator("li")
    await expect(rows).to_have_count(25)
    await page.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(75)


async def test_a_worker_that_is_not_there(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/workers/nobody")
    await expect(page.locator("h1")).to_have_text("No such worker")
    await page.locator("main").get_by_role("link", name="All workers").click()
    await expect(page.locator("h1")).to_have_text("Workers")
