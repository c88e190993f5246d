"""Try_Userpass and Try_Jobdir: builds of a difference that is in no repository yet.

A job says what it is based on and brings a patch. `plan` turns it into a buildset with a source stamp that
has the patch; `start` adds it, with the identity of the job as its key: a job that comes twice is built once.

The jobs of a Try_Userpass come over the data API, from `buildwright try`. The API's token says who may act at
all; if the scheduler has users, a job must name one of them with the password, too. Nothing listens on
``port``: the protocol of old clients, Perspective Broker, isn't spoken here.

The jobs of a Try_Jobdir come as files (:mod:`~buildwright.schedulers.jobdirs`): who may write into the
directory may ask for builds.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildwright.model.errors import error, expect, from_basedir, shown, warn
from buildwright.model.properties import Properties, SecretSource
from buildwright.model.render import is_renderable, render
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.plan import Plan, plan_buildset
from buildwright.schedulers.tryjobs import BadJob, TryJob

if TYPE_CHECKING:
    from buildwright.store.base import Store
    from buildwright.store.units.buildsets import Added

SOURCE = "try build"
NO_LISTENER = (
    "nothing listens on this port: {} come over the data API at the web port, sent with `buildwright {}`; "
    "the clients of Buildbot speak Perspective Broker, which this version doesn't"
)


class TryScheduler(Scheduler):
    """A scheduler of try jobs."""

    default_reason = "try job"

    async def plan(self, job: TryJob) -> Plan:
        """The buildset of a job; raises BadJob, PlanError."""
        mine = self._codebase_of(job)
        properties = Properties()
        try:
            properties.update(dict(job.properties), SOURCE)
            if job.who:
                properties.setProperty("owner", job.who, SOURCE)
        except (TypeError, ValueError) as problem:
            raise BadJob({"properties": str(problem)}) from None
        stamps = [self.default_stamp(codebase) for codebase in self.codebases]
        for stamp in stamps:
            if stamp["codebase"] == mine:
                stamp.update(_asked(job))
        plan = await plan_buildset(self, reason=self._why(job), stamps=stamps, properties=properties)
        if not job.builder_names:
            return plan
        unknown = [name for name in job.builder_names if name not in plan.builder_names]
        if unknown:
            text = f"{self.what} doesn't start {', '.join(unknown)}, only {', '.join(plan.builder_names)}"
            raise BadJob({"builderNames": text})
        return replace(plan, builder_names=tuple(dict.fromkeys(job.builder_names)))

    def _codebase_of(self, job: TryJob) -> str:
        """Which codebase the patch is of: the one that is named, the only one, or that of the repository."""
        names = list(self.codebases)
        if job.codebase is not None:
            if job.codebase in names:
                return job.codebase
            raise BadJob({"codebase": f"{self.what} has no codebase {job.codebase!r}, only {_listed(names)}"})
        if len(names) == 1:
            return names[0]
        same = [name for name in names if self.default_stamp(name)["repository"] == job.repository]
        if len(same) == 1 and job.repository:
            return same[0]
        raise BadJob({"codebase": f"say which of {_listed(names)} the patch is of"})

    def _why(self, job: TryJob) -> str:
        asked = f"{self.reason} of {job.who}" if job.who else self.reason
        comment = job.comment.strip().partition("\n")[0]
        return f"{asked}: {comment}" if comment else asked


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _asked(job: TryJob) -> dict[str, Any]:
    """What a job says of its source stamp."""
    given = {
        "branch": job.branch,
        "revision": job.baserev,
        "repository": job.repository,
        "project": job.project,
    }
    stamp: dict[str, Any] = {name: value for name, value in given.items() if value}
    if job.patch_body:
        stamp["patch"] = {
            "level": job.patch_level,
            "body": job.patch_body,
            "author": job.who,
            "comment": job.comment,
            "subdir": "",
        }
    return stamp


class Try_Userpass(TryScheduler):  # noqa: N801 - Buildbot's name
    """Builds what `buildwright try` sends.

    Example::

        c["schedulers"].append(
            schedulers.Try_Userpass("try", builderNames=["tests"], userpass=[("ann", "a password of hers")])
        )
    """

    def __init__(
        self,
        name: str,
        builderNames: Any,
        port: int | str | None = None,
        userpass: Sequence[tuple[Any, Any]] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(name, builderNames, **common)
        if port is not None:
            warn(f"{self.what}: port: {NO_LISTENER.format('try jobs', 'try')}", "leave port out")
        self.userpass = checked_users(userpass, self.what)

    async def admits(self, user: str | None, password: str | None, secrets: SecretSource) -> bool:
        """Whether a job with these may be taken."""
        return not self.userpass or await is_user(self.userpass, user, password, secrets)


class Try_Jobdir(TryScheduler):  # noqa: N801 - Buildbot's name
    """Builds the jobs that are put into a directory.

    Example::

        c["schedulers"].append(schedulers.Try_Jobdir("try-jobs", builderNames=["tests"], jobdir="jobs"))
    """

    def __init__(self, name: str, builderNames: Any, jobdir: str, **common: Any) -> None:
        super().__init__(name, builderNames, **common)
        if not expect(jobdir, (str, Path), f"{self.what}: jobdir", "a directory's path") or not str(jobdir):
            jobdir = "jobdir"
        self.jobdir = from_basedir(jobdir)


def checked_users(given: Any, what: str) -> list[tuple[str, Any]]:
    """Pairs of a user's name and the password, which may be a Secret."""
    if given is None:
        return []
    if not isinstance(given, list | tuple):
        error(
            f"{what}: userpass must be a list of (name, password), not {shown(given)}", "as in [('ann', 'x')]"
        )
        return []
    users: list[tuple[str, Any]] = []
    for entry in given:
        pair = tuple(entry) if isinstance(entry, list | tuple) else ()
        if (
            len(pair) == 2
            and isinstance(pair[0], str)
            and (isinstance(pair[1], str) or is_renderable(pair[1]))
        ):
            users.append((pair[0], pair[1]))
        else:
            error(f"{what}: userpass must be pairs of a name and a password or Secret, not {shown(entry)}")
    return users


async def is_user(
    users: Sequence[tuple[str, Any]], name: str | None, password: str | None, secrets: SecretSource
) -> bool:
    """Whether this is one of the users, and the user's password."""
    if name is None or password is None:
        return False
    known = False
    for user, wanted in users:
        if user != name:
            continue
        properties = Properties()
        properties.secret_source = secrets
        text = str(await render(wanted, properties))
        known |= hmac.compare_digest(text.encode("utf-8", "replace"), password.encode("utf-8", "replace"))
    return known


async def start_try(
    store: Store,
    scheduler: TryScheduler,
    schedulerid: int,
    job: TryJob,
    *,
    key: str | None,
    builder_ids: Mapping[str, int],
    now_us: int,
) -> Added | None:
    """Start what a job asks for; None while the scheduler is disabled. Raises BadJob, PlanError.

    ``key`` is the job's identity: the same job again gets the first one's answer.
    """
    from buildwright.store.units.schedulers import start

    arguments = {**(await scheduler.plan(job)).arguments(builder_ids), "key": key}
    if job.jobid:
        arguments["external_idstring"] = job.jobid
    return await store.run(start(schedulerid, arguments, now_us))
