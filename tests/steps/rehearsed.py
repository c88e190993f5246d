"""Steps whose tools aren't here: one builder of them, at a worker that plays scripts."""

from collections.abc import Callable
from pathlib import Path

from buildwright.testing import Rehearsal

Rehearse = Callable[..., Rehearsal]

HEAD = """
from buildwright.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {}
c["www"] = {"port": 8010}
c["workers"] = [worker.Worker("w1", "sesame")]
c["schedulers"] = []
"""


def rehearsed(rehearse: Rehearse, directory: Path, *made: str) -> Rehearsal:
    """A rehearsal of one builder with these steps."""
    config = directory / "master.cfg"
    factory = f"util.BuildFactory([{', '.join(made)}])"
    config.write_text(
        HEAD + f'c["builders"] = [util.BuilderConfig("b", workernames=["w1"], factory={factory})]\n'
        'c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]\n'
    )
    return rehearse(config)
