"""`make bench`: our numbers beside stock Buildbot's, as a table and as bench/results/latest.json.

    python -m bench.run                 every row
    python -m bench.run --only NAME     the row of that name, or all whose names begin with it and an
                                        underscore; both sides measured anew
    python -m bench.run --side peer     one side alone

A measurement fills one or more rows. The peer's figures are kept for twelve hours in
results/.peer-cache.json, under a key of machine, boot, versions and the bench's own text, so a changed
measurement is not compared with an old number. A measurement that fails is reported, fails the
whole run, and leaves its rows' other values.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import platform
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.limits import LIMITS
from bench.rows import (
    builds,
    config,
    history,
    idle,
    latency,
    logs,
    page,
    page_crawlers,
    page_listeners,
    page_log,
    steps,
)
from bench.sides import HERE, Ours, Peer, Side
from bench.table import Figure, Measurement, Row

MEASUREMENTS: tuple[Measurement, ...] = (
    *builds.MEASUREMENTS,
    *latency.MEASUREMENTS,
    *logs.MEASUREMENTS,
    *idle.MEASUREMENTS,
    *history.MEASUREMENTS,
    *config.MEASUREMENTS,
    *steps.MEASUREMENTS,
    *page.MEASUREMENTS,
    *page_log.MEASUREMENTS,
    *page_listeners.MEASUREMENTS,
    *page_crawlers.MEASUREMENTS,
)
RESULTS = HERE / "results"
CACHE_SECONDS = 12 * 3600


class PeerCache:
    """The peer's figures of the last hours on this machine."""

    def __init__(self, peer: Peer) -> None:
        self._path = RESULTS / ".peer-cache.json"
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        text = b"".join(
            path.read_bytes() for path in sorted(HERE.rglob("*.py")) if path.name != "our_workers.py"
        )
        parts = [platform.platform(), platform.processor(), str(os.cpu_count()), boot, peer.versions()]
        parts += [path.read_text() for path in sorted((HERE / "configs").glob("*.cfg"))]
        self._key = hashlib.sha256("\0".join(parts).encode() + text).hexdigest()

    def load(self) -> dict[str, Figure]:
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(self._path.read_text())
            if stored["key"] == self._key:
                return {
                    name: Figure(**entry["figure"])
                    for name, entry in stored["figures"].items()
                    if time.time() - entry["at"] < CACHE_SECONDS
                }
        return {}

    def store(self, figures: dict[str, Figure]) -> None:
        entries: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(self._path.read_text())
            if stored["key"] == self._key:
                entries = stored["figures"]
        entries |= {name: {"at": time.time(), "figure": asdict(figure)} for name, figure in figures.items()}
        self._path.write_text(json.dumps({"key": self._key, "figures": entries}, indent=1))


def entry(row: Row, ours: Figure | None, peer: Figure | None, limit: float | None) -> dict[str, Any]:
    """A row of latest.json. `ratio` is above 1 where we are better."""
    ratio = None
    if ours and peer:
        over, under = (ours.value, peer.value) if row.more_is_better else (peer.value, ours.value)
        ratio = over / under if under else None
    notes = [figure.note for figure in (ours,) if figure and figure.note]
    notes += [f"peer: {peer.note}"] if peer and peer.note else []
    return {
        "name": row.name,
        "unit": row.unit,
        "ours": ours and ours.value,
        "peer": peer and peer.value,
        "ratio": ratio,
        "limit": limit,
        "share": ours.value / limit if ours and limit else None,
        "runs": ours.runs if ours else peer.runs if peer else 0,
        "note": "; ".join(notes),
    }


def named(row: Row, name: str) -> bool:
    return row.name == name or row.name.startswith(f"{name}_")


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def print_table(entries: list[dict[str, Any]]) -> None:
    widths = {
        "name": 22,
        "unit": 9,
        "ours": -9,
        "peer": -9,
        "ratio": -8,
        "limit": -8,
        "share": -6,
        "runs": -5,
    }
    print(" ".join(aligned(name, width) for name, width in widths.items()), " note")
    for item in entries:
        shown = item | {name: number(item[name]) for name in ("ours", "peer", "ratio", "limit")}
        shown["share"] = "-" if item["share"] is None else f"{item['share']:.0%}"
        print(" ".join(aligned(str(shown[name]), width) for name, width in widths.items()), "", item["note"])


def aligned(text: str, width: int) -> str:
    return text.rjust(-width) if width < 0 else text.ljust(width)


def save(entries: list[dict[str, Any]]) -> None:
    """Write latest.json, keeping the rows that were not measured now, in the table's order."""
    path = RESULTS / "latest.json"
    known = {item["name"]: item for item in json.loads(path.read_text())} if path.exists() else {}
    known |= {item["name"]: item for item in entries}
    order = [row.name for measurement in MEASUREMENTS for row in measurement.rows]
    path.write_text(json.dumps([known[name] for name in order if name in known], indent=2) + "\n")


async def side_of(measurement: Measurement, side: Side, failures: list[str]) -> dict[str, Figure]:
    names = ", ".join(row.name for row in measurement.rows)
    print(f"{side.name}: {names} ...", file=sys.stderr, flush=True)
    try:
        return await measurement.measure(side, side.name == "peer")
    except Exception:  # one row's failure is told at the end and spoils no other row
        failures.append(f"{side.name}: {names}\n{traceback.format_exc()}")
        return {}


async def run(only: str | None, sides: set[str]) -> int:
    RESULTS.mkdir(exist_ok=True)
    peer = Peer()
    peer.install()
    cache = PeerCache(peer)
    cached = {} if only else cache.load()
    wanted = [m for m in MEASUREMENTS if only is None or any(named(row, only) for row in m.rows)]
    if not wanted:
        print(
            f"There is no row {only}. Rows: {' '.join(r.name for m in MEASUREMENTS for r in m.rows)}",
            file=sys.stderr,
        )
        return 2
    limits: dict[str, float] = {}
    entries: list[dict[str, Any]] = []
    failures: list[str] = []
    for measurement in wanted:
        theirs = {row.name: cached[row.name] for row in measurement.rows if row.name in cached}
        if "peer" in sides and len(theirs) < len(measurement.rows):
            theirs = await side_of(measurement, peer, failures)
            cache.store(theirs)
        ours = await side_of(measurement, Ours(), failures) if "ours" in sides else {}
        for row in measurement.rows:
            if isinstance(row.limit, str) and row.limit not in limits:
                limits[row.limit] = LIMITS[row.limit]()
            limit = limits[row.limit] if isinstance(row.limit, str) else row.limit
            entries.append(entry(row, ours.get(row.name), theirs.get(row.name), limit))
    print_table(entries)
    if sides == {"ours", "peer"}:
        save(entries)
    for failure in failures:
        print(f"\nFAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description="Our numbers beside stock Buildbot's.")
    parser.add_argument(
        "--only", metavar="NAME", help="only the measurements that fill rows of this name, both sides anew"
    )
    parser.add_argument(
        "--side", choices=("ours", "peer"), help="measure one side alone and write no results"
    )
    options = parser.parse_args()
    return asyncio.run(run(options.only, {options.side} if options.side else {"ours", "peer"}))


if __name__ == "__main__":
    sys.exit(main())
