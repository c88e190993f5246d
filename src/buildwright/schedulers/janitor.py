"""Buildbot's way to say what is kept: ``c['configurators'] = [util.JanitorConfigurator(...)]``.

It stands for a ``c['retention']`` by age alone, whose clock moves on at the given times. What is due is a
function of these times and of what the store has, so a time at which no master ran is made up for by the
next start.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from buildwright.model.errors import error, location
from buildwright.model.retention import Retention
from buildwright.schedulers.timed import Nightly


class JanitorConfigurator:
    """Drops logs older than ``logHorizon`` and build data older than ``build_data_horizon`` (``timedelta``),
    at the times that Nightly's fields name.

    Example::

        from datetime import timedelta

        c["configurators"].append(
            util.JanitorConfigurator(
                logHorizon=timedelta(weeks=8), build_data_horizon=timedelta(weeks=26), hour=3, dayOfWeek="sun"
            )
        )
    """

    def __init__(
        self,
        logHorizon: timedelta | None = None,
        hour: Any = 0,
        build_data_horizon: timedelta | None = None,
        **fields: Any,
    ) -> None:
        self.where = location(self)
        self.retention = Retention(logs=logHorizon, build_data=build_data_horizon, keep=0, keep_good=False)
        self.retention.times = Nightly("janitor", ["janitor"], hour=hour, **fields).due_points

    def configure(self, config: dict[str, Any]) -> None:
        """Put it into the configuration."""
        if config.get("retention") is not None:
            error(
                "there is a JanitorConfigurator and a c['retention']",
                "remove one of them: the second can say more",
                self.where,
            )
        config["retention"] = self.retention
