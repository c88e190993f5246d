"""Every page of the router, at an address that shows something, in each way that it is looked at.

The patterns are read from the router itself, so a page that is added is looked at as well; `ELEMENTS` says
what stands for each parameter in the filled store.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from playwright.async_api import Page, expect

from tests.support.fill import tables
from tests.web.conftest import SMALL

ROUTER = Path(__file__).parents[2] / "web/src/lib/router.svelte.ts"
Scheme = Literal["light", "dark"]
PHONE, DESK = 390, 1440
WAYS: tuple[tuple[int, Scheme], ...] = (
    (PHONE, "light"),
    (PHONE, "dark"),
    (DESK, "light"),
    (DESK, "dark"),
)


def _row(table: str, which: int) -> dict[str, object]:
    columns, rows = next((columns, rows) for name, columns, rows in tables(SMALL) if name == table)
    return dict(zip(columns, next(row for row in rows if row[0] == which), strict=True))


# The newest build that failed: it has steps, logs, changes, and results of tests.
BUILD = _row("builds", SMALL.builds - SMALL.builds % 10 - 10)
ELEMENTS = {
    "builder": str(BUILD["builderid"]),
    "number": str(BUILD["number"]),
    "buildid": str(BUILD["id"]),
    "request": str(SMALL.builds + 1),
    "scheduler": "force",
    "step": "3",
    "slug": "stdio",
    "change": str(SMALL.changes),
    "worker": "2",
    "master": "1",
    "dashboard": "releases",
}


def patterns() -> list[str]:
    """The router's, in its order, and one that it doesn't know."""
    views = ROUTER.read_text().partition("VIEWS: Record<string, View> = {")[2].partition("};")[0]
    found = re.findall(r'^  "(/[^"]*)":', views, re.MULTILINE)
    assert len(found) > 10, "the router's views aren't written as they were"
    return [*found, "/no/such/page"]


def address(pattern: str) -> str:
    """An address of the pattern, below the server's."""

    def element(match: re.Match[str]) -> str:
        assert match[1] in ELEMENTS, f"say in ELEMENTS what stands for :{match[1]} of {pattern}"
        return ELEMENTS[match[1]]

    return "/#" + re.sub(r":(\w+)", element, pattern)


async def each_way(page: Page, url: str) -> AsyncIterator[tuple[int, Scheme]]:
    """Open the address in each way in turn; it is drawn, with what it reads, when the caller has it."""
    for width, scheme in WAYS:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto("about:blank")
        await page.goto(url, wait_until="networkidle")
        await expect(page.locator("main h1")).to_have_count(1)
        await expect(page.locator("main [aria-busy=true]")).to_have_count(0)
        yield width, scheme
