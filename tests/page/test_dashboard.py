"""Dashboards of the configuration in the page's menu, and inside the page."""

from collections.abc import Iterable
from typing import Any

from playwright.async_api import Page

from buildwright.model.dashboards import Dashboard
from tests.support.webserver import Server, snapshot


def releases(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [f"<p>Version 1.7 at {environ['PATH_INFO']}</p>".encode()]


async def test_it_is_in_the_menu_and_inside_the_page(fresh: Server, page: Page) -> None:
    fresh.snapshot = snapshot(dashboards=[Dashboard(name="releases", caption="Releases", app=releases)])
    await page.goto(fresh.url)
    await page.get_by_role("link", name="Releases").click()
    await page.wait_for_selector("h1:text('Releases')")
    await page.frame_locator("iframe").get_by_text("Version 1.7 at /index.html").wait_for()


async def test_one_that_is_not_there(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/dashboards/none")
    await page.wait_for_selector("h1:text('No such dashboard')")
