"""A log: from its first line to its millionth, while it is written; searched, linked to, copied."""

import re

import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from buildwright.logs.append import Piece, finish, split
from buildwright.store.units import logs as units
from buildwright.store.units.logs import LogState
from tests.support.fill import tables
from tests.support.webserver import Server, execute
from tests.web.conftest import SMALL

SECOND = 1_000_000
STARTED = 1_790_000_000 * SECOND
# The numbers of the rows in view.
IN_VIEW = """() => {
  const box = document.querySelector('.box').getBoundingClientRect();
  return [...document.querySelectorAll('.row')].filter((row) => {
    const { top, bottom } = row.getBoundingClientRect();
    return bottom > box.top && top < box.bottom;
  }).map((row) => Number(row.dataset.row) + 1);
}"""
STEP = next(dict(zip(names, rows[0], strict=True)) for name, names, rows in tables(SMALL) if name == "steps")
BUILD = next(
    dict(zip(names, row, strict=True))
    for name, names, rows in tables(SMALL)
    if name == "builds"
    for row in rows
    if row[0] == STEP["buildid"]
)


class Written:
    """A log that a test writes to."""

    def __init__(self, server: Server, slug: str = "out", logid: int = 7000) -> None:
        self.server = server
        self.logid = logid
        self.slug = slug
        self.state = LogState()

    @property
    def url(self) -> str:
        build = f"builders/{BUILD['builderid']}/builds/{BUILD['number']}"
        return f"{self.server.url}/#/{build}/steps/{STEP['number']}/logs/{self.slug}"

    async def begin(self, type: str = "s") -> "Written":
        await self.server.store.run(units.add_log(self.logid, STEP["id"], self.slug, self.slug, type))
        return self

    async def add(self, *pieces: tuple[str, bytes]) -> None:
        rows, after = split(self.state, [Piece(stream, STARTED, "", data) for stream, data in pieces])
        await self.server.store.run(units.append(self.logid, self.state.next_chunk, rows, after))
        self.state = after

    async def end(self) -> None:
        rows, after = finish(self.state, STARTED)
        await self.server.store.run(units.finish(self.logid, self.state.next_chunk, rows, after))


@pytest_asyncio.fixture(loop_scope="session")
async def log(fresh: Server) -> Written:
    return await Written(fresh).begin()


def numbered(first: int, end: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, end))


def line(page: Page, number: int) -> Locator:
    """The row of a line, by the number that is shown."""
    return page.locator(f".row[data-row='{number - 1}']")


async def test_a_log_is_shown_as_it_is_written_to_its_end(log: Written, page: Page) -> None:
    await log.add(("h", b"sh -c make\n"), ("o", b"one\n"))
    await page.goto(log.url)
    await expect(page.locator(".row .text")).to_have_text(["sh -c make", "one"])
    await log.add(("e", b"tw"))
    await expect(page.locator(".row .text")).to_have_text(["sh -c make", "one", "tw"])
    await log.add(("e", b"o\n"), ("o", b"three\n"))
    await expect(page.locator(".row .text")).to_have_text(["sh -c make", "one", "two", "three"])
    # Not by colour alone.
    await expect(page.locator(".row .mark")).to_have_text(["›", "", "!", ""])
    await log.add(("o", numbered(5, 500)))
    await expect(line(page, 499).locator(".text")).to_be_in_viewport()
    await expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "true")

    # Who looks at something further up isn't taken away from it; the end is one key away.
    await page.keyboard.press("g")
    await expect(line(page, 1)).to_be_in_viewport()
    await log.add(("o", numbered(500, 600)))
    await log.end()
    await expect(page.get_by_role("button", name="End")).to_be_visible()
    await expect(line(page, 1)).to_be_in_viewport()
    await page.keyboard.press("G")
    await expect(line(page, 599).locator(".text")).to_have_text("line 599")


async def test_every_line_of_millions_can_be_reached(log: Written, page: Page) -> None:
    count = 2_000_000
    for first in range(0, count, 100_000):
        await log.add(("o", numbered(first + 1, first + 100_001)))
    await log.end()
    await page.goto(log.url)
    await expect(line(page, 1).locator(".text")).to_have_text("line 1")
    box = page.get_by_role("region", name="Lines of out")
    assert await box.evaluate("box => box.scrollHeight") < 16_000_000
    for part in (0.25, 0.5, 0.9, 0.123):
        await box.evaluate("(box, part) => { box.scrollTop = part * box.scrollHeight }", part)
        await page.wait_for_function(
            "part => { const row = document.querySelector('.row:not(.pending)');"
            " return row && Math.abs(row.dataset.row / 2e6 - part) < 0.01 }",
            arg=part,
        )
        number = int(await page.locator(".row").first.get_attribute("data-row") or "") + 1
        await expect(line(page, number).locator(".text")).to_have_text(f"line {number}")
        # From there a pixel is a pixel.
        await box.hover()
        await page.mouse.wheel(0, 200)
        await expect(page.locator(".row").first).to_have_attribute("data-row", str(number - 1 + 10))
    await page.keyboard.press("End")
    await expect(line(page, count)).to_be_in_viewport()
    await page.keyboard.press("PageUp")
    await expect(line(page, count)).not_to_be_attached()
    await page.keyboard.press("Home")
    await expect(line(page, 1)).to_be_in_viewport()


async def test_search_goes_from_match_to_match(log: Written, page: Page, faults: list[str]) -> None:
    await log.add(("o", numbered(1, 30_001)), ("e", b"Needle (here)\n"), ("o", numbered(30_002, 60_001)))
    await log.end()
    await page.goto(log.url)
    await expect(line(page, 1)).to_be_visible()
    await page.keyboard.press("/")
    await page.keyboard.type("needle (")
    await page.keyboard.press("Enter")
    await expect(line(page, 30_001)).to_be_in_viewport()
    await expect(line(page, 30_001).locator(".hit")).to_have_text("Needle (")
    await expect(page.get_by_role("status").first).to_have_text("1/1")
    await page.get_by_role("button", name="Aa").click()
    await expect(page.get_by_role("status").first).to_have_text("No match")

    search = page.get_by_role("searchbox")
    await search.fill("line [12]9999$")
    await page.get_by_role("button", name=".*").click()
    await search.press("Enter")
    await expect(line(page, 19_999)).to_be_in_viewport()
    await expect(page.get_by_role("status").first).to_have_text("1/2")
    await search.press("Escape")  # back to the log
    await expect(search).to_have_value("line [12]9999$")
    await page.keyboard.press("n")
    await expect(line(page, 29_999)).to_be_in_viewport()
    await page.keyboard.press("n")
    await expect(line(page, 19_999)).to_be_in_viewport()
    await page.keyboard.press("N")
    await expect(line(page, 29_999)).to_be_in_viewport()
    await page.keyboard.press("Control+f")
    await expect(search).to_be_focused()
    await search.fill("(")
    await expect(page.get_by_role("status").first).to_have_text(re.compile("no regular expression"))
    faults.clear()  # the browser notes the answer 400


async def test_search_follows_a_log_that_grows(log: Written, page: Page) -> None:
    await log.add(("o", numbered(1, 100)))
    await page.goto(log.url)
    await page.get_by_role("searchbox").fill("needle")
    await expect(page.get_by_role("status").first).to_have_text("No match")
    await log.add(("o", b"the needle\n"))
    await expect(page.get_by_role("status").first).to_have_text("one match")


async def test_the_first_error_is_one_key_away(log: Written, page: Page) -> None:
    await log.add(("h", b"error: of the header\n"), ("o", numbered(2, 5000)))
    await log.add(
        ("o", b"\x1b[1mx.c:3:1: \x1b[31merror: \x1b[0mno such thing\n"), ("o", numbered(5001, 9000))
    )
    await log.add(("o", b"make: *** [all] Error 1\n"))
    await log.end()
    await page.goto(log.url)
    await expect(line(page, 1)).to_be_visible()
    await page.keyboard.press("e")
    await expect(line(page, 5000).locator(".text")).to_have_text("x.c:3:1: error: no such thing")
    await expect(line(page, 5000).locator(".c1")).to_have_text("error: ")
    await page.keyboard.press("e")
    await expect(line(page, 9000).locator(".text")).to_have_text("make: *** [all] Error 1")
    await page.keyboard.press("e")
    await expect(page.get_by_role("status").first).to_have_text(re.compile("last line"))


async def test_a_link_leads_to_lines(log: Written, page: Page) -> None:
    await log.add(("o", numbered(1, 1001)))
    await log.end()
    await page.goto(f"{log.url}?lines=500-502")
    await expect(line(page, 500)).to_be_in_viewport()
    await expect(page.locator(".row.selected")).to_have_count(3)
    await line(page, 510).locator("a").click()
    assert page.url.endswith("?lines=510")
    await line(page, 505).locator("a").click(modifiers=["Shift"])
    assert page.url.endswith("?lines=505-510")
    await expect(page.locator(".row.selected")).to_have_count(6)
    await page.evaluate("location.hash = location.hash.replace('505-510', '900')")
    await expect(line(page, 900)).to_be_in_viewport()


async def test_lines_are_copied_as_text(log: Written, page: Page) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await log.add(("o", b"one\n\x1b[31mtwo\x1b[0m\n  three <b>\n"))
    await log.end()
    await page.goto(f"{log.url}?lines=1-2")
    await page.get_by_role("button", name="Copy lines").click()
    await expect(page.get_by_role("status").first).to_have_text("2 lines copied.")
    assert await page.evaluate("navigator.clipboard.readText()") == "one\ntwo\n"
    # What the mouse selects has no numbers in it.
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('.rows'))")
    assert (await page.evaluate("getSelection().toString()")).split() == ["one", "two", "three", "<b>"]


async def test_whatever_is_in_a_log_stays_text(log: Written, page: Page) -> None:
    attack = "<img src=x onerror=document.title=1><script>document.title=1</script>"
    await log.add(("o", f"{attack}\n\x1b[31m{attack}\x1b[0m\n".encode()))
    await log.add(("o", b"\xff\xfe\x00 bytes\n10%\r50%\r100%\r\n"), ("o", b"x" * 3_000_000 + b"\nlast\n"))
    await log.end()
    await page.goto(log.url)
    texts = page.locator(".row .text")
    await expect(texts).to_have_count(6)
    assert (await texts.all_text_contents())[:4] == [attack, attack, "\ufffd\ufffd\u2400 bytes", "100%"]
    await expect(texts.nth(5)).to_have_text("last")
    await expect(page.get_by_role("button", name="… 3.0 MB")).to_be_attached()
    assert await page.locator("main img, main script").count() == 0


async def test_long_lines_break_if_one_wants(log: Written, page: Page) -> None:
    await log.add(("o", b"word " * 400 + b"\nshort\n"))
    await log.end()
    await page.goto(log.url)
    first = line(page, 1)
    await expect(first).to_be_visible()
    assert await first.evaluate("row => row.offsetHeight") == 20
    await page.get_by_role("button", name="Wrap").click()
    await page.wait_for_function("() => document.querySelector('.row').offsetHeight > 40")
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    await page.get_by_role("button", name="Times").click()
    await expect(first.locator("time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d\.\d\d\d"))
    await page.reload()
    await page.wait_for_function("() => document.querySelector('.row')?.offsetHeight > 40")


async def test_wrapped_lines_scroll_from_end_to_end(log: Written, page: Page) -> None:
    lines = [b"%d " % number + b"word " * (number % 7) * 50 for number in range(1, 61)]
    await log.add(("o", b"\n".join(lines) + b"\n"))
    await log.end()
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto(log.url)
    await expect(line(page, 1)).to_be_in_viewport()
    await page.get_by_role("region", name="Lines of out").hover()
    seen = set[int]()
    while 60 not in seen:
        seen.update(await page.evaluate(IN_VIEW))
        before = await page.locator(".rows").evaluate("rows => rows.outerHTML")
        await page.mouse.wheel(0, 500)
        await page.wait_for_function(
            "before => document.querySelector('.rows').outerHTML !== before", arg=before
        )
    assert seen == set(range(1, 61))
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


async def test_a_log_of_html_can_do_nothing(fresh: Server, page: Page, faults: list[str]) -> None:
    log = await Written(fresh, "report").begin("h")
    await log.add(("o", b"<h1>Report</h1><script>parent.document.title='taken'</script>"))
    await log.end()
    await page.goto(log.url)
    await expect(page.frame_locator("iframe").locator("h1")).to_have_text("Report")
    assert "taken" not in await page.title()
    assert all("script" in fault.lower() for fault in faults)
    faults.clear()


async def test_a_log_that_is_gone_says_so(log: Written, fresh: Server, page: Page, faults: list[str]) -> None:
    await log.end()
    await execute(
        fresh.store, "UPDATE logs SET tier = 'expired', expired_at = 1780000000000000 WHERE id = 7000"
    )
    await page.goto(log.url)
    await expect(page.get_by_role("alert")).to_contain_text("expired on 2026-")
    await page.goto(log.url.replace("/out", "/none"))
    await expect(page.get_by_role("alert")).to_contain_text("no such log")
    assert all(re.search(r"\b(410|404)\b", fault) for fault in faults)
    faults.clear()
