"""Schedulers, masters, about: what is configured, and the reader's own choices."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Page, expect

from buildwright.store.base import wall_us
from buildwright.store.unit import Hint
from buildwright.store.units.changes import NewChange, add_changes
from tests.support.rig import Rig, rig
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL

TEXT = """
builder("b")
builder("c")
commits = schedulers.SingleBranchScheduler("commits", branch="main", treeStableTimer=600, builderNames=["b"])
c["schedulers"] += [
    commits,
    schedulers.Dependent("after", upstream=commits, builderNames=["c"]),
    schedulers.Nightly("yearly", builderNames=["b", "c"], month=2, dayOfMonth=28, hour=0, timezone="UTC"),
]
"""


@pytest_asyncio.fixture(loop_scope="session")
async def it(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, "sqlite:///state.sqlite", TEXT, workers=()) as it:
        yield it


async def test_schedulers_say_what_they_start_and_when(it: Rig, page: Page) -> None:
    await page.goto(f"http://127.0.0.1:{it.port}/#/schedulers")
    yearly = page.get_by_role("listitem").filter(has_text="yearly")
    await expect(yearly).to_contain_text("Nightly")
    await expect(yearly).to_contain_text("Feb 28")
    await expect(yearly.get_by_role("link")).to_have_text(["b", "c"])
    await expect(page.get_by_role("listitem").filter(has_text="Dependent")).to_contain_text(
        "waits for commits to succeed"
    )
    # A change comes in and waits for a timer.
    commits = page.get_by_role("listitem").filter(has_text="SingleBranchScheduler")
    await expect(commits).not_to_contain_text("one change")
    new = NewChange(author="Ann", revision="1", branch="main")
    await it.store.run(add_changes([new], wall_us()))
    await expect(commits).to_contain_text("one change on main – starts in 9 min")


async def test_a_scheduler_is_switched_off_and_on(it: Rig, page: Page) -> None:
    await page.goto(f"http://127.0.0.1:{it.port}/#/schedulers?q=yearly")
    switch = page.get_by_role("switch", name="yearly is on")
    await expect(switch).to_be_checked()
    await switch.click()
    await expect(switch).not_to_be_checked()
    await expect(page.get_by_text("would come next")).to_be_visible()
    await page.reload()
    await expect(switch).not_to_be_checked()
    await switch.focus()
    await page.keyboard.press("Space")
    await expect(switch).to_be_checked()


async def test_masters_and_one_of_them(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/masters")
    here = page.get_by_role("listitem").filter(has_text="ci.example.org")
    await expect(here).to_contain_text(f"{SMALL.builders - 1} builders")
    await expect(here).to_contain_text(f"{SMALL.workers - 1} workers attached")
    await expect(here).to_contain_text("3 builds run")
    await expect(page.get_by_role("listitem").filter(has_text="old.example.org")).to_contain_text("stopped")

    await here.get_by_role("link").click()
    await expect(page.locator("h1")).to_have_text("ci.example.org:/srv/ci")
    builds = page.get_by_role("region", name="Running").locator("li")
    await expect(builds).to_have_count(3)
    await expect(page.get_by_role("region", name="Workers attached").locator("li")).to_have_count(
        SMALL.workers - 1
    )
    await execute(
        fresh.store, f"UPDATE builds SET complete_at = started_at, results = 0 WHERE id = {SMALL.builds}"
    )
    fresh.bus.publish([Hint("builds", SMALL.builds, "finished")])
    await expect(builds).to_have_count(2)
    await page.get_by_role("region", name="Schedulers").get_by_role("link", name="commits").click()
    await expect(page.get_by_role("searchbox")).to_have_value("commits")


async def test_about(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/about")
    for row in ("Python 3", "Buildwright 0", f"Builders {SMALL.builders - 1}", f"Workers {SMALL.workers}"):
        await expect(page.get_by_role("row", name=row)).to_be_visible()
    # The page's own build is the one that the master serves.
    script = await page.locator("script[type=module]").get_attribute("src")
    assert script is not None
    shown = await page.get_by_role("row", name="This page").locator("code").text_content()
    assert shown is not None
    assert script.endswith(f"-{shown}.js")
    async with page.expect_navigation():
        await page.get_by_role("link", name="Data API").click()
    assert page.url == f"{fresh.url}/api/v2"


async def test_language_and_colours_are_the_readers_and_stay(fresh: Server, page: Page) -> None:
    await page.emulate_media(color_scheme="light")
    await page.goto(f"{fresh.url}/#/about")
    nav = page.get_by_role("navigation")
    await nav.get_by_label("Colours").select_option("dark")
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await nav.get_by_label("Language").select_option("de")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
