"""Every page for everybody: axe-core has nothing against it, on a phone and on a desk, light and dark."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.page.every_page import address, each_way, patterns
from tests.support.webserver import Server

AXE = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"


async def violations(page: Page) -> list[str]:
    """What axe-core says against the page as it is: each rule once, with one of its elements."""
    # The content policy refuses a script element; what a debugger evaluates it doesn't ask about.
    await page.evaluate(AXE.read_text())
    found: dict[str, Any] = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']}, {len(rule['nodes'])} times: {node['html'][:200]}\n{node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"][:1]
    ]


@pytest.mark.parametrize("pattern", patterns())
async def test_axe_has_nothing_to_say(fresh: Server, page: Page, pattern: str) -> None:
    found = [
        f"{width} {scheme} {violation}"
        async for width, scheme in each_way(page, fresh.url + address(pattern))
        for violation in await violations(page)
    ]
    assert not found, "\n".join(found)
