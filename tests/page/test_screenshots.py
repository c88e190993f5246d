"""Every page fits: on a phone and on a desk, light and dark, nothing reaches beyond the window's side, and
the browser complains of nothing. What it looked like is kept in screenshots/.
"""

from pathlib import Path

import pytest
from playwright.async_api import Page

from tests.page.every_page import address, each_way, patterns
from tests.support.webserver import Server

KEPT = Path(__file__).parents[2] / "screenshots"
# How far the page reaches beyond the window's side, and the innermost things that do.
STICKS_OUT = """() => {
  const over = document.documentElement.scrollWidth - innerWidth;
  if (over <= 0) return [];
  const out = [...document.body.querySelectorAll("*")].filter(
    (each) => each.getBoundingClientRect().right > innerWidth + 0.5 && !each.closest(".scroll"));
  return [`${over} px`, ...out.filter((each) => !out.some((other) => other !== each && each.contains(other)))
    .map((each) => `${each.tagName} ${each.className}: ${(each.textContent ?? "").slice(0, 60)}`)];
}"""


@pytest.mark.parametrize("pattern", patterns())
async def test_a_page_fits_and_the_browser_complains_of_nothing(
    fresh: Server, page: Page, pattern: str
) -> None:
    KEPT.mkdir(exist_ok=True)
    name = pattern.strip("/").replace("/", ".").replace(":", "") or "home"
    async for width, scheme in each_way(page, fresh.url + address(pattern)):
        await page.screenshot(path=KEPT / f"{name}-{width}-{scheme}.png", full_page=True)
        assert await page.evaluate(STICKS_OUT) == [], f"{pattern} at {width}"
