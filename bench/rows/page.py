"""Home, come to for the first time: how much script it takes, and how long until its lists are there.

Over 1,000 builders, 100,000 finished builds and 25,000 waiting requests. Each load is in a context of its
own, with nothing cached. The clock is the browser's: from the navigation to the frame after the one in which
the last list is drawn. Scripts are counted as they came over the wire, compressed, with their headers.
"""

import asyncio
from typing import Any

from playwright.async_api import Browser, Page

from bench.browser import chromium
from bench.history import FILL
from bench.sides import Setup, Side, master
from bench.table import Figure, Measurement, Row, median_of

BUILDERS = 1000
LOADS = 15

# Sets `window.usable` to the milliseconds since the navigation, once READY holds and has been drawn.
CLOCK = """
(() => {
  const look = () => {
    if (!(READY)) return void requestAnimationFrame(look);
    requestAnimationFrame(() => { window.usable = performance.now(); });
  };
  addEventListener("DOMContentLoaded", look);
})()
"""
READY = {
    # Every part of home has been read, and the lists that have something have rows.
    "ours": """document.querySelectorAll("main section").length === 6
        && !document.querySelector("main [aria-busy=true]")
        && document.querySelectorAll("main .rows > li").length > 35""",
    # Its twenty recent builds.
    "peer": """document.querySelectorAll("a[href*='/builds/']").length >= 20""",
}


async def open_home(page: Page, side: Side, url: str) -> float:
    """Milliseconds until home is usable."""
    await page.add_init_script(CLOCK.replace("READY", READY[side.name]))
    await page.goto(url, wait_until="commit")
    await page.wait_for_function("() => window.usable", timeout=120_000)
    usable: float = await page.evaluate("window.usable")
    return usable


async def weigh(browser: Browser, side: Side, url: str) -> Figure:
    """The scripts fetched until home is usable. Counting slows the browser down: nothing is timed here."""
    context = await browser.new_context()
    page = await context.new_page()
    network = await context.new_cdp_session(page)
    scripts: set[str] = set()
    sizes: dict[str, float] = {}

    def answered(event: dict[str, Any]) -> None:
        if "javascript" in event["response"]["mimeType"]:
            scripts.add(event["requestId"])

    def loaded(event: dict[str, Any]) -> None:
        sizes[event["requestId"]] = event["encodedDataLength"]

    network.on("Network.responseReceived", answered)
    network.on("Network.loadingFinished", loaded)
    await network.send("Network.enable")
    await open_home(page, side, url)
    await context.close()
    script = sum(size for request, size in sizes.items() if request in scripts)
    return Figure(script / 1000, 1, f"of {sum(sizes.values()) / 1000:.0f} kB in all until home is usable")


async def loads(browser: Browser, side: Side, url: str, count: int) -> Figure:
    times: list[float] = []
    for _ in range(count):
        context = await browser.new_context()
        page = await context.new_page()
        await asyncio.sleep(0.7)  # the browser has set up the window: a person's is there already
        times.append(await open_home(page, side, url))
        await context.close()
    return median_of(times, f"{min(times):.0f} to {max(times):.0f} ms")


async def measure(side: Side, short: bool) -> dict[str, Figure]:
    setup = Setup(workers=20, builders=BUILDERS, absent=True)
    async with master(side, setup, attached=False) as made:
        made.stop()  # it has run once: builders and workers are in the database
        FILL[side.name](made.home / "state.sqlite")
        await made.start()
        async with chromium() as browser:
            url = f"http://127.0.0.1:{setup.web_port}/"
            return {
                "page_script": await weigh(browser, side, url),
                "page_home": await loads(browser, side, url, 5 if short else LOADS),
            }


MEASUREMENTS = (
    Measurement(measure, (Row("page_script", "kB", False, 150), Row("page_home", "ms", False, 300))),
)
