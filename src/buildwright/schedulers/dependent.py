"""The Dependent scheduler: builds the same sources again, once another scheduler's buildset has succeeded.

The unit that completes a buildset puts it into the inbox of every scheduler whose upstream made it, so
none is missed, whatever dies. A buildset that ended SUCCESS or WARNINGS starts one with the same source
stamps; any other is settled as skipped. The cause is the upstream buildset.
"""

from __future__ import annotations

from typing import Any

from buildwright.model.errors import error, shown
from buildwright.model.results import SUCCESS, WARNINGS, status_to_string
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.decisions import Fire, Inbox, Skip, State, Verdict, Wishes


class Dependent(Scheduler):
    """Builds what its upstream scheduler has built with success.

    Example::

        commits = schedulers.SingleBranchScheduler("commits", branch="main", builderNames=["tests"])
        packages = schedulers.Dependent("packages", upstream=commits, builderNames=["tests"])
        c["schedulers"] += [commits, packages]
    """

    default_reason = "downstream"

    def __init__(self, name: str, upstream: Any, builderNames: Any, **common: Any) -> None:
        super().__init__(name, builderNames, **common)
        self.upstream_name = ""
        if isinstance(upstream, Scheduler):
            self.upstream_name = upstream.name
        else:
            error(
                f"{self.what}: upstream must be a scheduler, not {shown(upstream)}",
                hint="give the scheduler object itself, not its name",
            )

    @property
    def wishes(self) -> Wishes:
        return Wishes(upstreams=(self.upstream_name,) if self.upstream_name else ())

    def decide(self, inbox: Inbox, state: State, now_us: int, *, enabled: bool = True) -> Verdict:
        del now_us
        fires: list[Fire] = []
        skips: list[Skip] = []
        for done in inbox.upstream:
            cause = f"buildset:{done.buildsetid}"
            if not enabled:
                skips.append(Skip(cause, "skipped: disabled"))
            elif done.results in (SUCCESS, WARNINGS):
                fires.append(Fire(cause, self.reason, done.stampids, changeids=done.changeids))
            else:
                skips.append(Skip(cause, f"skipped: upstream ended {status_to_string(done.results)}"))
        return Verdict(
            state, fires, skips, used_upstream=frozenset(done.buildsetid for done in inbox.upstream)
        )
