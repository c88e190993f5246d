"""P4: a master that is killed in the middle of a directory's upload: the directory is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kill.test_named_points import DYING
from tests.support.processes import Farm, eventually, farm

POINTS = [("after output", 3), ("before place", 1), ("after place", 1)]

CONFIG = """
from buildwright.plugins import *
c = BuildmasterConfig = {}
c['workers'] = [worker.Worker("w", "pw")]
f = util.BuildFactory([steps.DirectoryUpload(workersrc=TREE, masterdest="up/tree", compress="gz")])
c['builders'] = [util.BuilderConfig(name="b", workernames=["w"], factory=f)]
c['schedulers'] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c['www'] = {'port': PORT}
"""


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def tree(directory: Path) -> dict[str, bytes]:
    """Make one of some megabytes; what is in it."""
    for number in range(30):
        path = directory / f"d{number % 3}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(200_000))
    return files(directory)


@pytest.mark.parametrize(("point", "time"), POINTS)
async def test_dying_at(tmp_path: Path, point: str, time: int) -> None:
    async with farm(tmp_path) as made:
        expected = tree(tmp_path / "tree")
        made.configure(f"TREE = {str(tmp_path / 'tree')!r}\n{CONFIG}")
        await made.start_worker("w")
        await made.start_master([DYING], DIE_AT=point, DIE_TIME=str(time))
        await made.master_is_up()
        await made.api.force("force", builderNames=["b"])
        await made.master.wait()
        _check_half_way(made, expected, there=point == "after place")
        await made.start_master()
        await made.master_is_up()
        (build,) = await eventually(lambda: made.api.builds_done(1), "the build is done")
        assert build["results"] == 0, build
        assert files(made.basedir / "up") == {f"tree/{name}": each for name, each in expected.items()}, (
            "whole, and no half ones are left beside it"
        )


def _check_half_way(made: Farm, expected: dict[str, bytes], *, there: bool) -> None:
    uploaded = made.basedir / "up" / "tree"
    assert uploaded.exists() == there
    if there:
        assert files(uploaded) == expected
