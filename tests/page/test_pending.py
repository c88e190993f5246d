"""What waits to be built: why, since when and for whom; cancelled and put forward, one and many."""

import re

from playwright.async_api import Locator, Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL

FIRST = SMALL.builds + 1  # of all requests that wait, and odd: those have the priority 1
SCRIPT = "<img src=x onerror=document.title=1>"


def rows(page: Page) -> Locator:
    return page.get_by_role("list", name="Requests").get_by_role("listitem")


async def test_all_that_waits_with_why_and_for_whom(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/pending")
    await expect(rows(page)).to_have_count(SMALL.waiting)
    first = rows(page).nth(0)
    for text in ("waits-for-arm", f"request {FIRST}", "none of its workers is attached: arm-board"):
        await expect(first).to_contain_text(text)
    await expect(first).to_contain_text("forced <by> hand")
    await expect(first).to_contain_text("bob@example.org")
    await expect(first.get_by_role("button", name="Priority 1 of")).to_be_visible()
    await expect(rows(page).get_by_text("lock 'arm' is taken").nth(0)).to_be_visible()


async def test_a_request_comes_gets_another_reason_and_begins(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/pendingbuildrequests?builder=waits-for-arm")
    await expect(rows(page)).to_have_count(SMALL.waiting)
    await execute(
        fresh.store,
        "INSERT INTO buildrequests (id, buildsetid, builderid, priority, submitted_at, waits_for)"
        " VALUES (9000, 1, 1, 9, 1000000, 'for a while'), (9001, 1, 2, 9, 1000000, '')",
    )
    fresh.bus.publish([Hint("buildrequests", 9000, "new"), Hint("buildrequests", 9001, "new")])
    await expect(rows(page).nth(0)).to_contain_text("for a while")
    await expect(rows(page)).to_have_count(SMALL.waiting + 1)  # the other one is another builder's
    await execute(fresh.store, "UPDATE builders SET waits_for = 'the moon is new' WHERE id = 1")
    fresh.bus.publish([Hint("builders", 1, "update")])
    await expect(rows(page).get_by_text("the moon is new").nth(0)).to_be_visible()
    await execute(fresh.store, "UPDATE buildrequests SET claimed_by = 1, claimed_at = 2 WHERE id = 9000")
    fresh.bus.publish([Hint("buildrequests", 9000, "claimed")])
    await expect(rows(page).nth(0)).to_contain_text(f"request {FIRST}")
    await page.get_by_role("button", name="Of all builders").click()
    await expect(rows(page).nth(0)).to_contain_text("builder-02")


async def test_one_is_cancelled_after_a_question(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/pending")
    await page.get_by_role("button", name=f"Cancel request {FIRST}").click()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(rows(page)).to_have_count(SMALL.waiting)
    await page.get_by_role("button", name=f"Cancel request {FIRST}").click()
    await page.get_by_label("Reason").fill("not now")
    await page.get_by_role("dialog").get_by_role("button", name="Cancel the request").click()
    await expect(rows(page)).to_have_count(SMALL.waiting - 1)
    await expect(page.get_by_text("The request is cancelled.")).to_be_visible()
    answer = await (await page.request.get(f"{fresh.url}/api/v2/buildrequests/{FIRST}")).json()
    assert answer["buildrequests"][0]["stop_reason"] == "not now"


async def test_many_are_cancelled_at_once(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/pending")
    await rows(page).nth(0).get_by_role("checkbox").check()
    await rows(page).nth(2).get_by_role("checkbox").check()
    await expect(page.get_by_text("2 chosen")).to_be_visible()
    await page.get_by_role("button", name="Cancel …").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel 2 requests").click()
    await expect(rows(page)).to_have_count(SMALL.waiting - 2)
    await expect(page.get_by_text("2 requests are cancelled.")).to_be_visible()
    await page.get_by_label(f"{SMALL.waiting - 2} requests").check()
    await page.get_by_role("button", name="Cancel …").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel 38 requests").click()
    await expect(page.get_by_text("Nothing waits.")).to_be_visible(timeout=60_000)


async def test_priorities_are_set(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/pending")
    last = rows(page).nth(SMALL.waiting - 1)
    name = re.search(r"request \d+", await last.inner_text())
    assert name is not None
    await last.get_by_role("button", name="Priority 0 of").click()
    field = page.get_by_label("Priority", exact=True)
    await field.fill("high")
    await page.keyboard.press("Enter")
    await expect(field).to_have_accessible_description(re.compile("a whole number"))
    await field.fill("7")
    await page.keyboard.press("Enter")
    await expect(rows(page).nth(0)).to_contain_text(name[0])
    await expect(rows(page).nth(0).get_by_role("button", name="Priority 7 of")).to_be_visible()


async def test_what_the_master_refuses_is_said_once_for_all(
    fresh: Server, page: Page, faults: list[str]
) -> None:
    await page.goto(f"{fresh.url}/#/pending")
    await page.get_by_label(f"{SMALL.waiting} requests").check()
    await page.get_by_role("button", name="Set priority …").click()
    # Meanwhile one of them was built.
    await execute(fresh.store, f"UPDATE buildrequests SET complete = 1 WHERE id = {FIRST}")
    await page.get_by_label("Priority", exact=True).fill("3")
    await page.keyboard.press("Enter")
    refused = page.get_by_text("One request was refused: the request is complete")
    await expect(refused).to_be_visible(timeout=60_000)
    await expect(page.get_by_text("39 requests have priority 3.")).to_be_visible()
    faults.clear()


async def test_long_lists_are_shown_in_parts(fresh: Server, page: Page) -> None:
    await execute(
        fresh.store,
        "INSERT INTO buildrequests (buildsetid, builderid, priority, submitted_at)"
        " SELECT buildsetid, 2, 0, 1000000 FROM buildrequests WHERE id <= 100",
    )
    await page.goto(f"{fresh.url}/#/pending")
    await expect(rows(page)).to_have_count(50)
    await page.get_by_role("button", name="Show more").click()
    await expect(rows(page)).to_have_count(100)


async def test_markup_is_text_and_a_phone_shows_it(fresh: Server, page: Page) -> None:
    await execute(fresh.store, f"UPDATE buildsets SET reason = '{SCRIPT}'")
    await execute(
        fresh.store, f"UPDATE buildrequests SET waits_for = '{SCRIPT * 4}' WHERE claimed_by IS NULL"
    )
    await execute(fresh.store, f"UPDATE sourcestamps SET branch = '{'long-' * 30}'")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"{fresh.url}/#/pending")
    await expect(rows(page).nth(0)).to_contain_text(SCRIPT)
    assert await page.locator("main img").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
