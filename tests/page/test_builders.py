"""All builders: found, sorted, grouped and paged, however many there are, in a few requests."""

import re

from playwright.async_api import Locator, Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL
from tests.web.test_reading import BUILDS

NEWEST = [row for row in BUILDS if row["builderid"] == 1][-1]["number"]


def names(page: Page) -> Locator:
    return page.locator("main .rows .name")


async def have_many(server: Server) -> None:
    """Have builders 1001 to 4000, of which every third has a build."""
    await execute(
        server.store,
        "WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)"
        " INSERT INTO builders (id, name, tags, next_number)"
        """ SELECT i, 'many-' || i, '["many", "t' || (i % 50) || '"]', 2 FROM n""",
    )
    await execute(server.store, "INSERT INTO builder_masters SELECT id, 1 FROM builders WHERE id > 1000")
    await execute(
        server.store,
        "INSERT INTO builds (id, number, builderid, buildrequestid, attempt, workerid, masterid, started_at,"
        " complete_at, results, state_string, properties)"
        " SELECT 10000 + id, 1, id, 1, id, 2, 1, id * 1000000, id * 1000000 + 5, id % 2 * 2, 'done', '{}'"
        " FROM builders WHERE id > 1000 AND id % 3 = 0",
    )


async def test_builders_are_in_groups_with_their_latest_builds(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders")
    mine = page.get_by_role("list", name="Builders of pyflakes")
    await expect(mine.locator(".name")).to_have_text(["builder-03", "builder-06"])
    row = page.locator("main .rows > li", has_text="waits-for-arm")
    await expect(row.get_by_role("link", name=re.compile(r"#\d+: \w+"))).to_have_count(10)
    await expect(row.get_by_text("40 wait")).to_be_visible()
    await expect(row).to_contain_text("20 s")
    assert await page.title() == "Builders"


async def test_a_build_that_begins_and_ends_is_seen(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders")
    row = page.locator("main .rows > li", has_text="waits-for-arm")
    marks = row.get_by_role("list").get_by_role("link")
    await expect(marks).to_have_count(10)
    await execute(
        fresh.store,
        "INSERT INTO builds (id, number, builderid, buildrequestid, attempt, workerid, masterid, started_at,"
        f" state_string, properties) SELECT 9000, {NEWEST + 1}, 1, buildrequestid, 2, 1, 1, started_at,"
        " 'compiling anew', '{}' FROM builds WHERE id = 1",
    )
    await execute(fresh.store, f"UPDATE builders SET next_number = {NEWEST + 2} WHERE id = 1")
    fresh.bus.publish([Hint("builds", 9000, "new")])
    await expect(marks.nth(0)).to_have_accessible_name(f"#{NEWEST + 1}: running")
    await execute(fresh.store, "UPDATE builds SET complete_at = started_at + 1, results = 4 WHERE id = 9000")
    await execute(fresh.store, "DELETE FROM buildrequests WHERE claimed_by IS NULL AND id % 2 = 0")
    fresh.bus.publish([Hint("builds", 9000, "finished")])
    await expect(marks.nth(0)).to_have_accessible_name(f"#{NEWEST + 1}: exception")
    await expect(row.get_by_text("20 wait")).to_be_visible()


async def test_they_are_found_by_words_and_tags_and_the_choice_is_an_address(
    fresh: Server, page: Page
) -> None:
    await page.goto(f"{fresh.url}/#/builders")
    await page.get_by_role("searchbox").fill("NUMBER 4")
    await expect(names(page)).to_have_text(["builder-04"])
    await page.get_by_role("searchbox").fill("")
    await page.locator("main .rows > li", has_text="waits-for-arm").get_by_role("button", name="odd").click()
    odd = [f"builder-{i:02}" for i in range(3, SMALL.builders, 2)]
    await expect(names(page)).to_have_text([*odd, "waits-for-arm"])
    await page.get_by_role("group", name="Filter builders by tags").get_by_role("button").nth(1).click()
    await expect(page).to_have_url(re.compile(r"tags=odd%2Clinux$"))
    await page.reload()
    await expect(names(page)).to_have_text([*odd, "waits-for-arm"])
    await page.goto(f"{fresh.url}/#/builders?tags=%2Beven")
    await expect(names(page).nth(0)).to_have_text("builder-06")
    await page.get_by_role("searchbox").fill("no such thing")
    await expect(page.get_by_text("No builder is like this.")).to_be_visible()


async def test_old_builders_are_shown_on_request(fresh: Server, page: Page) -> None:
    last = f"builder-{SMALL.builders:02}"  # no master has it
    await page.goto(f"{fresh.url}/#/builders")
    await expect(names(page)).to_have_count(SMALL.builders - 1)
    await expect(names(page).get_by_text(last)).to_have_count(0)
    await page.get_by_label("with one old builder").check()
    await expect(names(page).get_by_text(last)).to_be_visible()


async def test_thousands_of_builders_are_paged_sorted_and_searched(fresh: Server, page: Page) -> None:
    await have_many(fresh)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{fresh.url}/#/builders")
    await expect(page.get_by_text(f"1 to 100 of 3,00{SMALL.builders - 1} builders")).to_be_visible()
    await expect(names(page)).to_have_count(100)
    await expect(page.locator("main .marks a").nth(0)).to_be_visible()
    assert len([url for url in asked if "/api/v2/builders" in url]) == 2

    await page.get_by_role("button", name="Next").click()
    await expect(page.get_by_text("page 2 of 31")).to_be_visible()
    await page.get_by_role("searchbox").fill("many-3999")
    await expect(names(page)).to_have_text(["many-3999"])
    await page.get_by_role("searchbox").fill("many-3")
    await page.get_by_label("Sort by").select_option("Latest build")
    await expect(names(page).nth(0)).to_have_text("many-3999")
    await expect(names(page).nth(1)).to_have_text("many-3996")
    await page.get_by_label("Sort by").select_option("Result")
    await expect(names(page).nth(0)).to_have_text("many-3003")
    await page.locator("main .rows > li").nth(0).get_by_role("button", name="t3", exact=True).click()
    await expect(names(page).nth(0)).to_have_text("many-3003")
    await expect(page.get_by_text("20 builders", exact=True)).to_be_visible()


async def test_a_phone_shows_them_without_scrolling_sideways(fresh: Server, page: Page) -> None:
    await execute(fresh.store, f"UPDATE builders SET name = '{'long-' * 30}' WHERE id = 1")
    await execute(fresh.store, f"""UPDATE builders SET tags = '["{"tag" * 40}"]' WHERE id = 2""")
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(f"{fresh.url}/#/builders")
    await expect(names(page)).to_have_count(SMALL.builders - 1)
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


async def test_markup_in_names_and_tags_is_text(fresh: Server, page: Page) -> None:
    await execute(fresh.store, "UPDATE builders SET name = '<img src=x>' WHERE id = 1")
    await execute(fresh.store, """UPDATE builders SET tags = '["<b>t</b>"]' WHERE id = 1""")
    await execute(fresh.store, "UPDATE projects SET name = '<i>project</i>'")
    await page.goto(f"{fresh.url}/#/builders")
    await expect(names(page).get_by_text("<img src=x>")).to_be_visible()
    await expect(page.get_by_role("heading", name="<i>project</i>")).to_be_visible()
    assert await page.locator("main img, main li b").count() == 0
