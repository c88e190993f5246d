"""The ForceScheduler: builds because somebody asks, with what the form was filled in with.

`plan` turns a filled-in form into a buildset, or raises `ForceRefused` with everything that is wrong, by
full name of the field. `force` plans and adds the buildset, with the identity of the call as its key: a
repeated call starts nothing twice and gets the first one's answer.

Properties are those of the form (source "Force Build Form") with `owner` and `reason`, overridden by
none: a ForceScheduler has no others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildwright.model.errors import error, shown
from buildwright.model.properties import Properties
from buildwright.schedulers.base import Scheduler
from buildwright.schedulers.inheriting import FORM_SOURCE, NOTHING, Inherited, inherit
from buildwright.schedulers.parameters import (
    RESERVED,
    BaseParameter,
    CodebaseParameter,
    FixedParameter,
    InheritBuildParameter,
    IntParameter,
    NestedParameter,
    Problems,
    StringParameter,
    UserNameParameter,
    WorkerChoiceParameter,
    checked,
)
from buildwright.schedulers.plan import Plan, plan_buildset

if TYPE_CHECKING:
    from buildwright.store.base import Store
    from buildwright.store.units.buildsets import Added

NOBODY = (None, "", "anonymous")
"""Owners that stand for nobody being logged in."""


class ForceRefused(Exception):
    """A form that can't be taken: `problems` is what is wrong, by full name of the field."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{name}: {text}" for name, text in problems.items()))


class ForceScheduler(Scheduler):
    """Builds when somebody asks for it.

    Example::

        c["schedulers"].append(
            schedulers.ForceScheduler(
                "force",
                builderNames=["tests"],
                buttonName="Build it now",
                codebases=[util.CodebaseParameter("", branch=util.StringParameter("branch", default="main"))],
                properties=[util.BooleanParameter("clean", "Begin with an empty directory", default=False)],
            )
        )
    """

    default_reason = ""

    def __init__(
        self,
        name: str,
        builderNames: Sequence[str],
        *,
        username: BaseParameter | None = None,
        reason: BaseParameter | None = None,
        reasonString: str = "A build was forced by '%(owner)s': %(reason)s",
        buttonName: str | None = None,
        codebases: Sequence[str | CodebaseParameter] | None = None,
        label: str | None = None,
        properties: Sequence[BaseParameter] | None = None,
        priority: BaseParameter | None = None,
    ) -> None:
        super().__init__(name, builderNames)
        if self.builder_names is None:
            error(f"{self.what}: builderNames must be a list of names: the form is shown on their pages")
        if not str(name).replace("-", "_").isidentifier():
            error(f"{self.what}: name must be letters, digits, '_' and '-': it is part of an address")
        self.label = name if label is None else label
        self.buttonName = self.label if buttonName is None else buttonName
        self.username = self._one(username, "username", UserNameParameter())
        self.reason_parameter = self._one(
            reason, "reason", StringParameter("reason", "reason", default="force build", size=20)
        )
        self.priority_parameter = self._one(
            priority, "priority", IntParameter("priority", "priority", default=0)
        )
        self.reasonString = reasonString
        try:
            reasonString % {"owner": "", "reason": ""}
        except (KeyError, TypeError, ValueError) as problem:
            hint = "it must be text, with %(owner)s and %(reason)s in it"
            error(f"{self.what}: reasonString {reasonString!r} can't be filled in ({problem})", hint)
            self.reasonString = "%(reason)s"
        self.forced_properties: list[BaseParameter] = checked(properties or [], f"{self.what}: properties")
        self.codebase_parameters = self._codebase_parameters(codebases)
        self.codebases = {each.codebase: {} for each in self.codebase_parameters}
        self.all_fields: list[BaseParameter] = [
            NestedParameter("", fields=[self.username, self.reason_parameter, self.priority_parameter]),
            *self.codebase_parameters,
            *self.forced_properties,
        ]
        for field in self.all_fields:
            field.adopt("")
        self._check_names()

    def _one(self, given: Any, what: str, default: BaseParameter) -> BaseParameter:
        if given is None:
            return default
        if isinstance(given, BaseParameter):
            return given
        if what == "priority" and isinstance(given, int):
            return FixedParameter("priority", default=given)
        error(f"{self.what}: {what} must be a parameter, not {shown(given)}")
        return default

    def _codebase_parameters(self, given: Any) -> list[CodebaseParameter]:
        if given is None:
            return [CodebaseParameter("")]
        if isinstance(given, Mapping) or not isinstance(given, (list, tuple)) or not given:
            error(f"{self.what}: codebases must be a list of names or CodebaseParameters, not {shown(given)}")
            return [CodebaseParameter("")]
        found = []
        for each in given:
            if isinstance(each, CodebaseParameter):
                found.append(each)
            elif isinstance(each, str):
                found.append(CodebaseParameter(each))
            else:
                error(f"{self.what}: codebases must be names or CodebaseParameters, not {shown(each)}")
        return found

    def _check_names(self) -> None:
        seen: set[str] = set()
        for field in leaves(self.all_fields):
            if field.fullName in seen:
                error(f"{self.what}: two fields are called {field.fullName!r}")
            seen.add(field.fullName)

    def offer_workers(self, names: Sequence[str]) -> None:
        """Let workers be chosen of these, where the configuration doesn't say of which."""
        for field in leaves(self.all_fields):
            if isinstance(field, WorkerChoiceParameter) and not field.choices:
                field.choices = list(names)

    @property
    def inherited(self) -> list[InheritBuildParameter]:
        """The fields that name a build to take something over from."""
        return [field for field in leaves(self.all_fields) if isinstance(field, InheritBuildParameter)]

    def form(self, builds: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The form as data. ``builds`` are what can be inherited from."""
        choices = {field.fullName: field.choices_of(builds) for field in self.inherited}
        return {
            "name": self.name,
            "label": self.label,
            "button_name": self.buttonName,
            "builder_names": self.builder_names or [],
            "all_fields": [_with_choices(field.spec(), choices) for field in self.all_fields],
        }

    async def plan(
        self,
        given: Mapping[str, Any],
        owner: str | None = None,
        builder_names: Sequence[str] | None = None,
        validation: Mapping[str, re.Pattern[str]] | None = None,
        inherited: Inherited = NOTHING,
    ) -> Plan:
        """The buildset of one filled-in form.

        ``owner`` is who is logged in, if anybody; then the form's name of the user doesn't count.
        ``builder_names`` are the builders asked for, by default all of the scheduler's. ``validation`` is the
        configuration's key of that name.
        """
        problems: Problems = {}
        answers: dict[str, Any] = {}
        if owner is None:
            self.username.collect(given, answers, problems)
            owner = str(answers.pop(self.username.name, "") or "") or "user"
        self.reason_parameter.collect(given, answers, problems)
        self.priority_parameter.collect(given, answers, problems)
        reason = str(answers.pop(self.reason_parameter.name, "") or "")
        priority = answers.pop(self.priority_parameter.name, 0)
        stamps = [parameter.stamp_of(given, problems) for parameter in self.codebase_parameters]
        for parameter in self.forced_properties:
            parameter.collect(given, answers, problems)
        asked = {field.name for field in self.forced_properties if _is_given(field, given)}
        answers.update({name: value for name, value in inherited.values.items() if name not in asked})
        problems.update(inherited.problems)
        if validation:
            self._validate(validation, stamps, answers, problems)
        configured = self.builder_names or []
        unknown = [name for name in builder_names or () if name not in configured]
        if unknown:
            problems["builderNames"] = f"{self.what} doesn't start {', '.join(unknown)}"
        properties = Properties()
        for name, value in {**answers, "reason": reason, "owner": owner}.items():
            try:
                properties.setProperty(name, value, FORM_SOURCE)
            except ValueError as refused:
                problems[name] = str(refused)
        if problems:
            raise ForceRefused(problems)
        return await plan_buildset(
            self,
            reason=self.reasonString % {"owner": owner, "reason": reason},
            stamps=stamps,
            properties=properties,
            builder_names=list(builder_names) if builder_names else configured,
            priority=priority if isinstance(priority, int) else 0,
            changeids=inherited.changeids,
        )

    def _validate(
        self,
        validation: Mapping[str, re.Pattern[str]],
        stamps: Sequence[Mapping[str, Any]],
        answers: Mapping[str, Any],
        problems: Problems,
    ) -> None:
        """Note what c['validation'] forbids."""

        def look(kind: str, value: Any, field: str) -> None:
            if why := forbidden(validation, kind, value):
                problems.setdefault(field, why)

        for parameter, stamp in zip(self.codebase_parameters, stamps, strict=True):
            for key in ("branch", "revision"):
                field = next((each.fullName for each in parameter.fields if each.name == key), key)
                look(key, stamp[key], field)
        for name, value in answers.items():
            look("property_name", name, name)
            look("property_value", value, name)


def forbidden(validation: Mapping[str, re.Pattern[str]], kind: str, value: Any) -> str | None:
    """Why c['validation'] forbids a value, or None if it doesn't."""
    pattern = validation.get(kind)
    if pattern is None or not isinstance(value, str) or pattern.match(value):
        return None
    return f"c['validation'][{kind!r}] forbids {value!r}"


def asked_builders(params: Mapping[str, Any], builder_ids: Mapping[str, int]) -> list[str] | None:
    """The builders that a filled-in form names; None: all of its scheduler's. An unknown id names none."""
    if params.get("builderNames"):
        given = params["builderNames"]
        return [str(each) for each in given] if isinstance(given, (list, tuple)) else [str(given)]
    if params.get("builderid") is not None:
        wanted = str(params["builderid"])
        return [name for name, builderid in builder_ids.items() if wanted in (str(builderid), name)]
    return None


async def force(
    store: Store,
    scheduler: ForceScheduler,
    schedulerid: int,
    params: Mapping[str, Any],
    *,
    owner: str | None,
    key: str | None,
    builder_ids: Mapping[str, int],
    now_us: int,
    validation: Mapping[str, re.Pattern[str]] | None = None,
) -> Added:
    """Start what was asked for; raises ForceRefused, also while the scheduler is disabled.

    ``params`` is the form with ``builderid`` or ``builderNames`` beside it, which say what of the scheduler's
    builders is meant.
    """
    from buildwright.store.units.schedulers import start

    names = asked_builders(params, builder_ids)
    if names == []:
        raise ForceRefused({"builderid": f"there is no builder {params['builderid']}"})
    form = {name: value for name, value in params.items() if name not in RESERVED}
    inherited = await inherit(store, scheduler.inherited, form)
    plan = await scheduler.plan(form, None if owner in NOBODY else owner, names, validation, inherited)
    added = await store.run(
        start(schedulerid, {**plan.arguments(builder_ids), "key": key and f"force:{key}"}, now_us)
    )
    if added is None:
        raise ForceRefused({"": f"{scheduler.what} is disabled"})
    return added


def _is_given(field: BaseParameter, given: Mapping[str, Any]) -> bool:
    """Whether something was filled in for a field, or for one of a group."""
    return any(each.items_of(given.get(each.fullName)) for each in leaves([field]))


def _with_choices(spec: dict[str, Any], choices: Mapping[str, list[str]]) -> dict[str, Any]:
    """A field's data, with choices filled in by full name, also inside of groups."""
    if spec["fullName"] in choices:
        return {**spec, "choices": choices[spec["fullName"]]}
    if "fields" in spec:
        return {**spec, "fields": [_with_choices(each, choices) for each in spec["fields"]]}
    return spec


def leaves(fields: Sequence[BaseParameter]) -> list[BaseParameter]:
    """The fields that carry values, without the groups around them."""
    found: list[BaseParameter] = []
    for field in fields:
        found += leaves(field.fields) if isinstance(field, NestedParameter) else [field]
    return found
