"""Logs on the page: how soon a line is seen, how long a log of five million lines takes to open, and how long
rows are without a text after a jump. In Chromium, on the master's own machine; ours alone.

A moment counts when the browser has drawn: two frames after what was waited for.
"""

import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Page

from bench.browser import chromium
from bench.sides import Master, Setup, Side, master
from bench.support import write_lines
from bench.table import Figure, Measurement, Row, percentile

LINES = 5_000_000
BYTES_A_LINE = 94
SAMPLES = 100
JUMPS = 40
# Prints when it prints, after it was told to go.
PRINTER = """
import pathlib, time
while not pathlib.Path(GO).exists(): time.sleep(0.02)
for number in range(COUNT):
    print("seen", repr(time.time()), flush=True)
    time.sleep(0.06)
"""

# Milliseconds from each line's print to the frame that shows it.
WATCH = """() => {
  window.delays = new Map();
  const drawn = (row) => {
    const found = /^seen ([\\d.]+)$/.exec(row.querySelector(".text")?.textContent ?? "");
    if (!found || window.delays.has(found[1])) return;
    window.delays.set(found[1], undefined);
    requestAnimationFrame(() => requestAnimationFrame(() =>
      window.delays.set(found[1], performance.timeOrigin + performance.now() - 1000 * Number(found[1]))));
  };
  new MutationObserver(() => document.querySelectorAll("[data-row]").forEach(drawn))
    .observe(document.querySelector(".rows"), { subtree: true, childList: true, characterData: true });
}"""

# Milliseconds from following a link to the first lines.
OPEN = """(href) => new Promise((resolve) => {
  const began = performance.now();
  location.href = href;
  const look = () => document.querySelector("[data-row]:not(.pending)")
    ? requestAnimationFrame(() => resolve(performance.now() - began)) : requestAnimationFrame(look);
  look();
})"""

# Milliseconds from moving the bar to a view without an empty row.
JUMP = """(part) => new Promise((resolve) => {
  const box = document.querySelector(".box");
  const first = document.querySelector("[data-row]").dataset.row;
  const began = performance.now();
  box.scrollTop = part * (box.scrollHeight - box.clientHeight);
  const look = () => document.querySelector("[data-row]").dataset.row !== first
      && !document.querySelector("[data-row].pending")
    ? requestAnimationFrame(() => resolve(performance.now() - began)) : requestAnimationFrame(look);
  requestAnimationFrame(look);
})"""


@asynccontextmanager
async def browser_page() -> AsyncIterator[Page]:
    async with chromium() as browser:
        yield await browser.new_page()


def url(made: Master, build: int, path: str = "") -> str:
    return f"http://127.0.0.1:{made.setup.web_port}/#/builders/builder0/builds/{build}{path}"


async def live(side: Side, short: bool) -> dict[str, Figure]:
    if short:  # the peer has no such reader
        return {}
    async with master(side, Setup(), started=False) as made, browser_page() as page:
        go = made.home / "go"
        text = PRINTER.replace("GO", repr(str(go))).replace("COUNT", str(SAMPLES))
        made.setup.steps = [("python3", "-c", text)]
        await made.start()
        await made.start_workers()
        request = await made.rest.force()
        await page.goto(url(made, 1, "/steps/step0/logs/stdio"))
        await page.wait_for_selector("[data-row]:not(.pending)")
        await page.evaluate(WATCH)
        go.touch()
        await made.rest.finished_build(request)
        await page.wait_for_function(
            f"() => window.delays.size >= {SAMPLES} && ![...window.delays.values()].includes(undefined)"
        )
        delays = await page.evaluate("() => [...window.delays.values()]")
    worst = f"p50 {statistics.median(delays):.0f} ms, worst {max(delays):.0f} ms"
    return {"page_log_line_p95": Figure(percentile(delays, 0.95), len(delays), worst)}


async def large(side: Side, short: bool) -> dict[str, Figure]:
    if short:
        return {}
    async with master(side, Setup(), started=False) as made, browser_page() as page:
        text = made.home / "lines.txt"
        write_lines(text, LINES * BYTES_A_LINE)
        made.setup.steps = [("cat", str(text))]
        await made.start()
        await made.start_workers()
        await made.rest.finished_build(await made.rest.force())
        opened: list[float] = []
        for _ in range(5):
            await page.goto(url(made, 1))
            await page.get_by_role("button", name="step0").wait_for()
            opened.append(await page.evaluate(OPEN, url(made, 1, "/steps/step0/logs/stdio")))
        jumps = [await page.evaluate(JUMP, (number * 0.6180339887 + 0.5) % 1) for number in range(JUMPS)]
        lines = await made.rest.get("/builds/1/steps/step0/logs/stdio?field=num_lines")
    note = f"{lines['logs'][0]['num_lines'] / 1e6:.1f} million lines; worst {max(opened):.0f} ms"
    middle = f"p50 {statistics.median(jumps):.0f} ms"
    return {
        "page_log_open": Figure(statistics.median(opened), len(opened), note),
        "page_log_jump_worst": Figure(max(jumps), len(jumps), middle),
    }


MEASUREMENTS = (
    Measurement(live, (Row("page_log_line_p95", "ms", False, 150),)),
    Measurement(
        large, (Row("page_log_open", "ms", False, 300), Row("page_log_jump_worst", "ms", False, 100))
    ),
)
