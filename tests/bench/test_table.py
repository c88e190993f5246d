"""The bench's arithmetic: ratios above 1 where we are better, shares of limits, percentiles, kept results."""

import json
from pathlib import Path

import pytest

from bench import run
from bench.table import Figure, Row, percentile

RATE = Row("builds_sqlite", "builds/s", True, "spawns")
DELAY = Row("start", "s", False)


def test_a_ratio_above_one_says_that_ours_is_better() -> None:
    assert run.entry(RATE, Figure(500.0, 3), Figure(2.5, 1), 1000.0) == {
        "name": "builds_sqlite",
        "unit": "builds/s",
        "ours": 500.0,
        "peer": 2.5,
        "ratio": 200.0,
        "limit": 1000.0,
        "share": 0.5,
        "runs": 3,
        "note": "",
    }
    assert run.entry(DELAY, Figure(0.5, 1), Figure(1.0, 1, "cold"), None)["ratio"] == 2.0


def test_a_side_that_failed_leaves_its_numbers_null() -> None:
    item = run.entry(RATE, None, Figure(2.5, 1, "slow"), 1000.0)
    assert (item["ours"], item["peer"], item["ratio"], item["share"]) == (None, 2.5, None, None)
    assert item["note"] == "peer: slow"


def test_rows_are_chosen_by_name_or_by_what_their_names_begin_with() -> None:
    assert run.named(RATE, "builds_sqlite")
    assert run.named(RATE, "builds")
    assert not run.named(RATE, "build")
    assert not run.named(DELAY, "builds")


def test_percentiles_are_samples() -> None:
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7.0], 0.95) == 7.0


def test_rows_that_were_not_measured_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    run.save([run.entry(DELAY, Figure(0.5, 1), None, None)])
    run.save([run.entry(RATE, Figure(500.0, 1), None, None)])
    assert [item["name"] for item in json.loads((tmp_path / "latest.json").read_text())] == [
        "builds_sqlite",
        "start",
    ]


def test_every_row_of_the_bench_has_a_name_of_its_own() -> None:
    names = [row.name for measurement in run.MEASUREMENTS for row in measurement.rows]
    assert len(names) == len(set(names)) == 38
