"""The control verbs on the store: what the web server calls, each one unit of work.

A forced build's form is checked by its scheduler, which is the configuration's; the master knows the ids of
what it has registered."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from buildwright.changes.base import Intake
from buildwright.changes.pb import PBChangeSource
from buildwright.model.properties import SecretSource
from buildwright.model.results import CANCELLED
from buildwright.schedulers.force import ForceRefused, ForceScheduler, asked_builders, forbidden, force
from buildwright.schedulers.plan import PlanError
from buildwright.schedulers.tries import Try_Userpass, start_try
from buildwright.schedulers.tryjobs import BadJob, job_of
from buildwright.store.base import Store
from buildwright.store.units import control as units
from buildwright.store.units.changes import NewChange, add_changes
from buildwright.store.units.claims import stop_request
from buildwright.store.units.schedulers import enable
from buildwright.web.errors import Refused
from buildwright.web.incoming import change_of, source_of
from buildwright.web.services import Added


async def _no_secret(_name: str) -> str | None:
    return None


class StoreControl:
    """:class:`~buildwright.web.services.Control` on a store."""

    def __init__(
        self,
        store: Store,
        now_us: Callable[[], int],
        *,
        forms: Callable[[], Mapping[str, ForceScheduler]],
        scheduler_ids: Callable[[], Mapping[str, int]],
        builder_ids: Callable[[], Mapping[str, int]],
        tries: Callable[[], Mapping[str, Try_Userpass]] = dict,
        change_sources: Callable[[], Sequence[PBChangeSource]] = tuple,
        intake: Callable[[], Intake] = Intake,
        secret_source: SecretSource = _no_secret,
        validation: Callable[[], Mapping[str, re.Pattern[str]]] = dict,
    ) -> None:
        self._store = store
        self._now_us = now_us
        self._forms = forms
        self._scheduler_ids = scheduler_ids
        self._builder_ids = builder_ids
        self._tries = tries
        self._change_sources = change_sources
        self._intake = intake
        self._secret_source = secret_source
        self._validation = validation

    async def force(
        self, scheduler: str, params: Mapping[str, Any], owner: str, key: str | None
    ) -> Added | None:
        form = self._forms().get(scheduler)
        schedulerid = self._scheduler_ids().get(scheduler)
        if form is None or schedulerid is None:
            return None
        try:
            return await force(
                self._store,
                form,
                schedulerid,
                params,
                owner=owner,
                key=key,
                builder_ids=self._builder_ids(),
                now_us=self._now_us(),
                validation=self._validation(),
            )
        except ForceRefused as refused:
            raise Refused(refused.problems) from None

    def force_builders(self, scheduler: str, params: Mapping[str, Any]) -> Sequence[str]:
        form = self._forms().get(scheduler)
        if form is None:
            return ()
        return asked_builders(params, self._builder_ids()) or form.builder_names or ()

    async def try_build(self, scheduler: str, params: Mapping[str, Any], key: str | None) -> Added | None:
        configured = self._tries().get(scheduler)
        schedulerid = self._scheduler_ids().get(scheduler)
        if configured is None or schedulerid is None:
            return None
        given = dict(params)
        user, password = given.pop("username", None), given.pop("passwd", None)
        if not await configured.admits(user, password, self._secret_source):
            raise Refused({"passwd": f"{configured.what} has no such user with this password"})
        if user and not given.get("who"):
            given["who"] = user
        try:
            added = await start_try(
                self._store,
                configured,
                schedulerid,
                job_of(given),
                key=key and f"try:{key}",
                builder_ids=self._builder_ids(),
                now_us=self._now_us(),
            )
        except BadJob as problem:
            raise Refused(problem.problems) from None
        except PlanError as problem:
            raise Refused(str(problem)) from None
        if added is None:
            raise Refused({"": f"{configured.what} is disabled"})
        return added

    async def add_change(self, params: Mapping[str, Any], key: str | None) -> int | None:
        change = change_of(params, key)
        self._validate(change)
        source = await source_of(params, self._change_sources(), self._secret_source)
        if source is not None and source.prefix:
            change = replace(change, files=source.inside(list(change.files)))
            if not change.files:
                return None
        change = await self._intake().prepare(change, has_codebase=params.get("codebase") is not None)
        [taken] = await self._store.run(add_changes([change], self._now_us()))
        return taken.changeid

    def _validate(self, change: NewChange) -> None:
        """Refuse what c['validation'] forbids."""
        validation = self._validation()
        looked_at = [("branch", "branch", change.branch), ("revision", "revision", change.revision)]
        looked_at += [("property_name", "properties", name) for name in change.properties]
        problems = {
            field: why for kind, field, value in looked_at if (why := forbidden(validation, kind, value))
        }
        if problems:
            raise Refused(problems)

    async def rebuild(
        self,
        buildid: int,
        owner: str,  # noqa: ARG002
        key: str | None,
        *,
        from_failed: bool = False,
    ) -> Added | None:
        try:
            return await self._store.run(units.rebuild(buildid, self._now_us(), key, from_failed=from_failed))
        except units.NothingFailed:
            raise Refused({"from": "the build has no failed step to go on from"}) from None

    async def stop_build(self, buildid: int, reason: str, results: int | None) -> bool:
        asked = CANCELLED if results is None else results
        return await self._store.run(units.stop_build(buildid, reason, self._now_us(), asked))

    async def cancel_request(self, requestid: int, reason: str) -> bool:
        return await self._store.run(stop_request(requestid, reason, self._now_us()))

    async def set_priority(self, requestid: int, priority: int) -> bool:
        return await self._store.run(units.set_priority(requestid, priority))

    async def enable_scheduler(self, schedulerid: int, enabled: bool) -> bool:
        return await self._store.run(enable(schedulerid, enabled))

    async def worker_action(self, workerid: int, action: str, reason: str) -> bool:
        match action:
            case "pause":
                return await self._store.run(units.pause_worker(workerid, reason))
            case "unpause":
                return await self._store.run(units.unpause_worker(workerid))
            case "stop":
                return await self._store.run(units.leave_worker(workerid, units.GRACEFUL))
            case "kill":
                return await self._store.run(units.leave_worker(workerid, units.KILLED))
        raise ValueError(f"no such action: {action}")
