"""Markup, scripts and harmful links in every text that there is: the page shows them as text.

Every text column of the store gets a payload, so a view that comes later, or a column, is tried as well.
`KEPT` says which columns are words of the program itself.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.async_api import Page

from buildwright.model.properties import Properties
from buildwright.schedulers.force import ForceScheduler
from buildwright.schedulers.parameters import NestedParameter, StringParameter
from buildwright.store import schema
from tests.page.every_page import address, patterns
from tests.support.webserver import Server, execute

FIRED = "document.documentElement.dataset.fired = 1"
MARKUP = (
    f"<img src=x onerror='{FIRED}'><script>{FIRED}</script>"
    f'"\'><svg onload="{FIRED}"><iframe srcdoc="<script>parent.{FIRED}</script>"></iframe>'
    f"{{{{{FIRED}}}}}${{{FIRED}}}</title></style></textarea><details open ontoggle='{FIRED}'>"
)
LINK = f"javascript:{FIRED}"
# Words of ours, keys that others look up, and what isn't text but stands as one.
KEPT = {
    ("builds", "fingerprint"),
    ("builders", "description_format"),
    ("buildsets", "parent_relationship"),
    ("codebases", "slug"),
    ("projects", "slug"),
    ("projects", "description_format"),
    ("logchunks", "stream"),
    ("logchunks", "origin"),
    ("logs", "slug"),
    ("logs", "tier"),
    ("logs", "type"),
    ("logs", "open_lines"),
    ("steps", "fingerprint"),
    ("sourcestamps", "ss_hash"),
    ("test_code_paths", "digest"),
    ("test_names", "digest"),
    ("workers", "boot_id"),
    ("workers", "ledger_id"),
    ("workers", "attached_call"),
}
SHOWN = [table for table in schema.metadata.sorted_tables if table.name in {name for name, _ in KEPT}] + [
    schema.audit,
    schema.build_data,
    schema.buildrequests,
    schema.changes,
    schema.changesources,
    schema.codebase_branches,
    schema.codebase_commits,
    schema.masters,
    schema.patches,
    schema.schedulers,
    schema.test_result_sets,
    schema.test_results,
]


def _spoiled(value: Any, payload: str) -> Any:
    """The same structure, with the payload for every text and in every name of a property."""
    if isinstance(value, str):
        return payload
    if isinstance(value, list):
        return [_spoiled(each, payload) for each in value]
    if isinstance(value, dict):
        return {name: _spoiled(each, payload) for name, each in value.items()}
    return value


async def spoil(server: Server, payload: str) -> None:
    """Put the payload into every text of the store; what has to differ ends with the row's id."""
    for table in SHOWN:
        for column in table.columns:
            if isinstance(column.type, sa.Text) and (table.name, column.name) not in KEPT:
                await _spoil_column(server, table, column, payload)
    line = f"{payload} \x1b]8;;javascript:{FIRED}\x07click\x1b]8;;\x07 \x1b[1m{payload}\x1b[0m\n"
    await execute(
        server.store,
        f"UPDATE logchunks SET content = x'{line.encode().hex()}', num_lines = 1 WHERE seq = 0 OR seq = 1",
    )


async def _spoil_column(server: Server, table: sa.Table, column: sa.Column[Any], payload: str) -> None:
    rows = await server.store.fetch(sa.select(table.c.id, column).where(column.is_not(None)))
    differs = column.unique or column.name in ("name", "identity", "path", "revision")
    changed: dict[str, list[int]] = {}
    for rowid, value in rows:
        new = _new(value, payload)
        if differs:
            new = f"{new} {rowid}"
        changed.setdefault(new, []).append(rowid)
    for new, ids in changed.items():
        quoted = new.replace("'", "''")
        for start in range(0, len(ids), 500):
            chosen = ", ".join(map(str, ids[start : start + 500]))
            await execute(
                server.store, f"UPDATE {table.name} SET {column.name} = '{quoted}' WHERE id IN ({chosen})"
            )


def _new(value: str, payload: str) -> str:
    if value[:1] not in ("{", "["):
        return payload
    found = json.loads(value)
    spoiled = _spoiled(found, payload)
    if isinstance(spoiled, dict) and all(isinstance(each, list) for each in spoiled.values()):
        spoiled[payload] = [payload, payload]  # properties, by name
    return json.dumps(spoiled)


@pytest.mark.parametrize("payload", [MARKUP, LINK], ids=["markup", "link"])
async def test_no_text_becomes_markup(fresh: Server, page: Page, faults: list[str], payload: str) -> None:
    await spoil(fresh, payload)
    fresh.forms = {"force": _form(payload)}
    fresh.snapshot = _titled(fresh, payload)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    shown = 0
    for pattern in patterns():
        await page.goto("about:blank")
        await page.goto(fresh.url + address(pattern), wait_until="networkidle")
        for closed in await page.locator("main summary, main button[aria-expanded=false]").all():
            if await closed.is_visible():
                await closed.click()
        shown += (await page.locator("body").inner_text()).count(payload[:20])
        assert await page.evaluate("document.documentElement.dataset.fired") is None, pattern
        assert (
            await page.locator("main :is(img, iframe, script, object, embed, [onerror], [onload])").count()
            == 0
        )
        bad = "a => a.map(each => each.protocol).filter(each => !/^(https?|mailto):$/.test(each))"
        assert await page.locator("a[href]").evaluate_all(bad) == [], pattern
    assert shown > 20, "the payload is hardly shown anywhere: this test looks past it"
    assert all(url.startswith((fresh.url, "about:", "ws:")) for url in asked), asked
    assert [fault for fault in faults if "Refused" in fault or "Content Security" in fault] == []
    faults.clear()  # names with slashes lead to addresses that aren't there


def _form(payload: str) -> ForceScheduler:
    nested = NestedParameter(
        name="nested", label=payload, fields=[StringParameter(name="text", label=payload, default=payload)]
    )
    return ForceScheduler("force", ["waits-for-arm", "builder-02"], label=payload, properties=[nested])


def _titled(server: Server, payload: str) -> Any:
    return replace(server.snapshot, title=payload, properties=Properties())
