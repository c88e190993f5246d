"""A build: from its failure to the failing line, stopping, rebuilding, and that its texts stay texts."""

import re

import sqlalchemy as sa
from playwright.async_api import Page, expect

from buildwright.store import schema
from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL

LAST = SMALL.builds
FAILED = 290  # a finished build with steps and logs


async def test_from_a_failure_to_its_failing_line_in_two_clicks(fresh: Server, page: Page) -> None:
    await break_build(fresh, FAILED)
    await page.goto(fresh.url)
    broken = page.get_by_role("region", name="Broken")
    await broken.get_by_role("link", name=re.compile(f"#{await number(fresh, FAILED)}$")).click()
    await page.locator("a.marked", has_text="error: broken").click()
    await page.wait_for_url(re.compile(r"/steps/\d+/logs/stdio\?lines=22$"))


async def test_steps_show_where_the_time_went(fresh: Server, page: Page) -> None:
    await break_build(fresh, FAILED)
    await page.goto(f"{fresh.url}/#/builds/{FAILED}")
    steps = page.get_by_role("region", name="Steps").get_by_role("listitem")
    rows = page.locator("main button[aria-expanded]")
    await expect(rows).to_have_count(SMALL.steps - 1)  # one is hidden
    # Only what broke is open; the others open when they are asked to.
    await expect(page.locator("main button[aria-expanded=true]")).to_have_count(1)
    await rows.first.focus()
    await page.keyboard.press("Enter")
    await expect(rows.first).to_have_attribute("aria-expanded", "true")
    await expect(steps.first.get_by_role("link", name="stdio")).to_be_visible()


async def test_a_running_build_is_followed(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builds/{LAST}")
    await page.wait_for_selector(".result.running")
    await execute(fresh.store, f"UPDATE builds SET state_string = 'linking' WHERE id = {LAST}")
    fresh.bus.publish([Hint("builds", LAST)])
    await page.wait_for_selector("p:text-is('linking')")
    await execute(
        fresh.store, f"UPDATE builds SET complete_at = started_at + 9000000, results = 0 WHERE id = {LAST}"
    )
    fresh.bus.publish([Hint("builds", LAST, "finished")])
    await page.wait_for_selector("header .result.success")
    await page.get_by_role("button", name="Rebuild").wait_for()


async def test_stop_asks_for_a_reason(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builds/{LAST}")
    await page.get_by_role("button", name="Stop").click()
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="detached")
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_label("Reason").fill("wrong branch")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=The build is being stopped.")
    await page.get_by_role("region", name="Who did what").get_by_text("wrong branch").wait_for()
    requests, builds = schema.buildrequests.c, schema.builds.c
    of_build = sa.select(builds.buildrequestid).where(builds.id == LAST).scalar_subquery()
    asked = await fresh.store.fetch(sa.select(requests.stop_reason).where(requests.id == of_build))
    assert asked[0][0] == "wrong branch"


async def test_rebuild_leads_to_its_request(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builds/{FAILED}")
    await page.get_by_role("button", name="Rebuild", exact=True).click()
    await page.wait_for_url(re.compile(r"#/buildrequests/\d+$"))


async def test_rebuild_from_the_step_that_broke(fresh: Server, page: Page) -> None:
    await break_build(fresh, FAILED)
    await page.goto(f"{fresh.url}/#/builds/{FAILED}")
    async with page.expect_response(lambda response: response.request.method == "POST") as answered:
        await page.get_by_role("button", name="Rebuild from").click()
    response = await answered.value
    asked = response.request.post_data_json
    assert asked is not None
    assert (response.status, asked["params"]) == (200, {"from": "failed"})
    await page.wait_for_url(re.compile(r"#/buildrequests/\d+$"))


async def test_what_a_build_says_stays_text(fresh: Server, page: Page) -> None:
    attack = "<img src=x onerror=document.title=1><script>document.title=1</script>"
    await break_build(fresh, FAILED)
    await execute(fresh.store, f"UPDATE builds SET state_string = '{attack}'")
    await execute(fresh.store, f"UPDATE steps SET name = '{attack}', state_string = '{attack}'")
    await execute(fresh.store, f"UPDATE build_data SET name = '{attack}' || id")
    await execute(fresh.store, f"UPDATE changes SET comments = '{attack}', author = '{attack}'")
    await execute(fresh.store, f"UPDATE builders SET name = '{attack}' || id")
    link = '[{"name": "click", "url": "javascript:document.title=1"}]'
    await execute(fresh.store, f"UPDATE steps SET urls = '{link}'")
    await page.goto(f"{fresh.url}/#/builds/{FAILED}")
    await page.wait_for_selector(f"text={attack[:30]} >> nth=0")
    await page.get_by_text("javascript:document.title=1").first.wait_for()
    assert await page.locator("main img, main script, main [onerror]").count() == 0
    assert await page.get_by_role("link", name="click").count() == 0
    assert await page.title() != "1"


async def test_a_build_that_is_not_there(fresh: Server, page: Page, faults: list[str]) -> None:
    await page.goto(f"{fresh.url}/#/builders/2/builds/99999")
    await page.get_by_role("alert").get_by_text("no such").wait_for()
    faults.clear()  # the browser notes the 404


async def break_build(server: Server, buildid: int) -> None:
    """Have the last step of a build fail with an error in line 21 of its log, and be its builder's newest."""
    steps = await server.store.fetch(
        sa.select(schema.steps.c.id).where(schema.steps.c.buildid == buildid).order_by(schema.steps.c.number)
    )
    stepid = steps[-1][0]
    await execute(server.store, f"UPDATE builds SET results = 2 WHERE id = {buildid}")
    await execute(
        server.store,
        f"UPDATE builds SET results = 0 WHERE id > {buildid} AND complete_at IS NOT NULL AND builderid <>"
        f" (SELECT builderid FROM builds WHERE id = {buildid})",
    )
    await execute(
        server.store,
        f"UPDATE builds SET number = number + 1000 WHERE id = {buildid}",
    )
    await execute(
        server.store,
        f"UPDATE steps SET results = CASE WHEN id = {stepid} THEN 2 ELSE 0 END WHERE buildid = {buildid}",
    )
    lines = "".join(f"line {i}\n" for i in range(20)) + "main.c:7: error: broken\nmore\n"
    await execute(
        server.store,
        f"UPDATE logchunks SET content = x'{lines.encode().hex()}', num_lines = 22 WHERE logid IN"
        f" (SELECT id FROM logs WHERE stepid = {stepid}) AND stream = 'o'",
    )
    await execute(server.store, f"UPDATE logs SET num_lines = 22 WHERE stepid = {stepid}")


async def number(server: Server, buildid: int) -> int:
    query = sa.select(schema.builds.c.number).where(schema.builds.c.id == buildid)
    return int((await server.store.fetch(query))[0][0])
