"""Test results: of a build, of a builder over its builds, of one test."""

from playwright.async_api import Page, expect

from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute
from tests.web.test_reading import BUILDS

# The newest finished build of the first builder with results: its seventh test failed.
BUILD = next(row for row in reversed(BUILDS) if row["builderid"] == 1 and row["complete_at"] is not None)
FAILED = f"tests.test_{1 + BUILD['id'] % 10}"


async def test_a_builds_failed_tests_come_first_with_what_they_said(fresh: Server, page: Page) -> None:
    await execute(
        fresh.store, "UPDATE test_results SET message = 'Traceback:\n<b>assert</b> 1 == 2' WHERE passed = 0"
    )
    await page.goto(f"{fresh.url}/#/builders/1/builds/{BUILD['number']}")
    tests = page.get_by_role("region", name="Tests")
    await expect(tests).to_contain_text("1 failed")
    await expect(tests).to_contain_text("9 passed")
    rows = tests.locator("li")
    await expect(rows).to_have_count(1)
    await expect(rows.get_by_role("link")).to_have_text(FAILED)
    await expect(rows.locator("pre")).to_have_text("Traceback:\n<b>assert</b> 1 == 2")

    await tests.get_by_label("Which results").select_option(str(BUILD["id"]))
    await expect(rows).to_have_count(10)
    await expect(rows.first).to_contain_text(FAILED)
    await tests.get_by_label("Filter tests").fill("test_10")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("tests.test_10")
    await tests.get_by_label("Filter tests").fill("no such test")
    await expect(tests).to_contain_text("No test is like this.")
    # A set of measured values shows them.
    await tests.get_by_label("Filter tests").fill("")
    await tests.get_by_label("Which results").select_option(str(BUILD["id"] + 10**6))
    await expect(rows).to_contain_text("17.5 ms")


async def test_results_appear_as_they_come(fresh: Server, page: Page) -> None:
    old = BUILDS[0]
    await page.goto(f"{fresh.url}/#/builders/{old['builderid']}/builds/{old['number']}")
    await expect(page.get_by_role("region", name="Steps")).to_be_visible()
    tests = page.get_by_role("region", name="Tests")
    await expect(tests).to_have_count(0)
    await execute(
        fresh.store,
        "INSERT INTO test_result_sets (id, builderid, buildid, stepid, number, category, value_unit, "
        f"tests_passed, tests_failed, num_results) VALUES (77, {old['builderid']}, {old['id']}, 1, 0, "
        "'pass_fail', 'boolean', 3, 0, 3)",
    )
    fresh.bus.publish([Hint("test_result_sets", 77, "new")])
    await expect(tests).to_contain_text("3 passed")


async def test_a_builders_tests_that_need_looking_at(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/waits-for-arm")
    await page.get_by_role("link", name="Tests over time").click()
    await expect(page.locator("h1")).to_have_text("Tests of waits-for-arm")
    failing = page.get_by_role("region", name="Failing")
    first = BUILDS[-1]["id"]  # it is running, and has results already
    await expect(failing.locator("li")).to_contain_text(f"tests.test_{1 + first % 10}")
    await expect(page.get_by_role("region", name="Slowest").locator("li")).to_have_count(10)
    # Another build's results come in: the list follows.
    await execute(fresh.store, f"UPDATE test_results SET passed = 0 WHERE test_result_setid = {first}")
    fresh.bus.publish([Hint("test_result_sets", first, "completed")])
    await expect(failing.locator("li")).to_have_count(10)
    await page.get_by_label("Filter tests").fill("test_10")
    await expect(failing.locator("li")).to_have_count(1)
    await failing.get_by_role("link", name="tests.test_10").click()
    await expect(page.locator("h1")).to_have_text("tests.test_10")


async def test_one_tests_history(fresh: Server, page: Page) -> None:
    # Of one source and with two outcomes: it is flaky.
    await execute(fresh.store, "UPDATE sourcestamps SET revision = 'abc', patchid = NULL")
    await page.goto(f"{fresh.url}/#/builders/1/tests?name={FAILED}")
    await expect(page.locator("h1")).to_have_text(FAILED)
    await expect(page.locator("main header").first).to_contain_text("flaky")
    await expect(page.get_by_text("It both passed and failed on the same source.").last).to_be_visible()
    await expect(page.get_by_role("img", name="Seconds by build").locator("canvas")).to_be_visible()
    await page.get_by_role("button", name="As a table").click()
    await expect(page.get_by_role("cell", name="ms").first).to_be_visible()
    runs = page.get_by_role("region", name="Runs").locator("li")
    failed = runs.filter(has_text=f"#{BUILD['number']}").filter(has_text="failure")
    await expect(failed).to_have_count(1)
    await failed.get_by_text("What it said").click()
    await expect(failed.locator("pre")).to_have_text("assert 1 == 2")
    await failed.get_by_role("link", name=f"#{BUILD['number']}").click()
    await expect(page.get_by_role("region", name="Tests")).to_contain_text("1 failed")


async def test_a_test_that_is_not_there(fresh: Server, page: Page, faults: list[str]) -> None:
    await page.goto(f"{fresh.url}/#/builders/1/tests?name=nothing")
    await expect(page.get_by_role("alert")).to_contain_text("there is nothing at this path")
    faults.clear()  # the browser notes the 404
