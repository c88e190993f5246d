"""How long planning takes, once a configuration is loaded: `python planning.py DIRECTORY TIME` prints the
seconds of each round as JSON, and how much was planned.
"""

import asyncio
import json
import sys
import time
from datetime import datetime
from pathlib import Path

from buildwright.cli.plan import in_lines, planned
from buildwright.config.loader import load


def main() -> None:
    home = Path(sys.argv[1])
    at_us = round(datetime.fromisoformat(sys.argv[2]).timestamp()) * 1_000_000
    snapshot = load(home / "master.cfg", home)
    rounds = []
    lines: list[str] = []
    builds = steps = 0
    for _ in range(5):
        began = time.perf_counter()
        told = asyncio.run(planned(snapshot, at_us=at_us))
        lines = in_lines(told, brief=False)
        rounds.append(time.perf_counter() - began)
        builds = sum(len(made) for _, made in told.builds)
        steps = sum(len(build.steps) for _, made in told.builds for build in made)
    print(json.dumps({"rounds": rounds, "builds": builds, "steps": steps, "lines": len(lines)}))


if __name__ == "__main__":
    main()
