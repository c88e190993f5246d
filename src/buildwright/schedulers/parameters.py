"""Parameters of a forced build: what a form asks for, checked and turned into values.

A parameter describes itself as data (`spec`), which is what a form is drawn from, and makes a value of
what comes back. What comes back is a mapping keyed by the parameters' full names; a value is what JSON
holds, or a list of texts as forms send it. A group (`NestedParameter`) has parameters of its own; their
full names begin with the group's, unless that is empty.

Anything wrong is collected by full name (`Problems`), so that a form can show all of it at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from buildwright.model.arguments import Checked
from buildwright.model.asking import limited
from buildwright.model.errors import error, expect, shown
from buildwright.model.filters import UNSET
from buildwright.model.properties import json_problem
from buildwright.model.renderable import is_plain

Problems = dict[str, str]
RESERVED = ("owner", "builderNames", "builderid")


class Refused(ValueError):
    """What was given for one parameter can't be taken; the message is for the person who gave it."""


class BaseParameter(metaclass=Checked):
    """One thing that a form asks for.

    Example::

        class Version(util.BaseParameter):
            type = "text"

            def convert(self, item):
                return item.removeprefix("v")


        ask = [Version("version", "Version to build", default="1.0.0")]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    type: ClassVar[str] = ""
    spec_attributes: ClassVar[tuple[str, ...]] = (
        "name",
        "fullName",
        "label",
        "tablabel",
        "type",
        "default",
        "required",
        "multiple",
        "regex",
        "hide",
        "maxsize",
        "autopopulate",
        "tooltip",
    )
    default: Any = ""

    def __init__(
        self,
        name: str,
        label: str | None = None,
        *,
        tablabel: str | None = None,
        regex: str | None = None,
        default: Any = UNSET,
        required: bool = False,
        multiple: bool = False,
        hide: bool = False,
        maxsize: int | None = None,
        autopopulate: Mapping[str, Any] | None = None,
        tooltip: str = "",
    ) -> None:
        self.what = f"{type(self).__name__} {name!r}"
        expect(name, str, f"{type(self).__name__}: name", "text")
        if name in RESERVED:
            error(f"{self.what}: the name is taken by the form itself", hint="choose another name")
        self.name = name
        self.fullName = name
        self.label = name if label is None else label
        self.tablabel = self.label if tablabel is None else tablabel
        self.regex = regex
        self._pattern: re.Pattern[str] | None = None
        if regex is not None and expect(regex, str, f"{self.what}: regex", "a regular expression"):
            try:
                self._pattern = re.compile(regex)
            except re.error as problem:
                error(f"{self.what}: {regex!r} is no regular expression: {problem}")
        if default is not UNSET:
            if is_plain(default) and (why := json_problem(default)):
                error(f"{self.what}: default: {why}", "text, a number, True, False or a list of these")
            self.default = default
        self.required = required
        self.multiple = multiple
        self.hide = hide
        self.maxsize = maxsize
        self.autopopulate = autopopulate
        self.tooltip = tooltip

    def spec(self) -> dict[str, Any]:
        """The parameter as data for a form."""
        return {name: getattr(self, name) for name in self.spec_attributes}

    def adopt(self, prefix: str) -> None:
        """Take the full name that the parameter has inside a group."""
        self.fullName = f"{prefix}_{self.name}" if prefix and self.name else prefix or self.name

    def collect(self, given: Mapping[str, Any], into: dict[str, Any], problems: Problems) -> None:
        """Put the value under the parameter's name, or what is wrong with it under the full name."""
        try:
            into[self.name] = self.value_of(given)
        except Refused as refused:
            problems[self.fullName] = str(refused)

    def value_of(self, given: Mapping[str, Any]) -> Any:
        """The value of what was given; raises Refused."""
        items = self.items_of(given.get(self.fullName))
        if not items:
            if self.required:
                raise Refused(f"'{self.label}' needs to be specified")
            items = self.items_of(self.default)
        for item in items:
            self._check(item)
        if self.multiple:
            return [self.convert(item) for item in items]
        return self.convert(items[0]) if items else self.empty()

    def items_of(self, given: Any) -> list[Any]:
        """What was given as a list, without what counts as nothing."""
        items = list(given) if isinstance(given, (list, tuple)) else [given]
        return [
            item for item in items if item is not None and not (isinstance(item, str) and not item.strip())
        ]

    def _check(self, item: Any) -> None:
        text = str(item)
        if self.maxsize is not None and len(text.encode()) > self.maxsize:
            raise Refused(f"'{self.label}' is too long: at most {self.maxsize} bytes")
        if self._pattern is not None and not self._pattern.match(text):
            raise Refused(f"'{self.label}' has to match {self.regex}")

    def convert(self, item: Any) -> Any:
        """One value of what was given; raises Refused."""
        return item

    def empty(self) -> Any:
        """The value of nothing."""
        return ""

    def __repr__(self) -> str:
        return f"<{self.what}>"


class FixedParameter(BaseParameter):
    """A value that nobody can change: always the default.

    Example::

        ask = [util.FixedParameter("channel", default="beta")]
        c["schedulers"].append(
            schedulers.ForceScheduler("force-beta", builderNames=["tests"], properties=ask)
        )
    """

    type = "fixed"

    def __init__(self, name: str, label: str | None = None, **more: Any) -> None:
        super().__init__(name, label, **{"hide": True, **more})

    def value_of(self, given: Mapping[str, Any]) -> Any:
        del given
        return self.default


class StringParameter(BaseParameter):
    """A line of text.

    Example::

        ask = [util.StringParameter("version", "Version to build", regex="[0-9.]+", default="1.0", size=10)]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    type = "text"
    spec_attributes = (*BaseParameter.spec_attributes, "size")

    def __init__(self, name: str, label: str | None = None, *, size: int = 10, **more: Any) -> None:
        super().__init__(name, label, **more)
        self.size = size

    def convert(self, item: Any) -> Any:
        if not isinstance(item, (str, int, float)):
            raise Refused(f"'{self.label}' has to be text")
        return str(item)


class TextParameter(StringParameter):
    """Lines of text.

    Example::

        ask = [util.TextParameter("notes", "Notes of the release", rows=8, cols=60)]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    type = "textarea"
    spec_attributes = (*StringParameter.spec_attributes, "cols", "rows")

    def __init__(
        self, name: str, label: str | None = None, *, cols: int = 80, rows: int = 20, **more: Any
    ) -> None:
        super().__init__(name, label, **more)
        self.cols = cols
        self.rows = rows


class FileParameter(TextParameter):
    """The text of a file.

    Example::

        ask = [util.FileParameter("settings", "A file of settings", maxsize=100_000)]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    type = "file"

    def __init__(self, name: str, label: str | None = None, **more: Any) -> None:
        super().__init__(name, label, **{"maxsize": 10 * 1024 * 1024, **more})


class IntParameter(StringParameter):
    """A whole number.

    Example::

        ask = [util.IntParameter("jobs", "How many at a time", default=4)]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    type = "int"
    default = 0

    def convert(self, item: Any) -> Any:
        try:
            return int(item)
        except (TypeError, ValueError):
            raise Refused(f"'{self.label}' has to be a whole number, not {str(item)!r}") from None

    def empty(self) -> Any:
        return 0


class BooleanParameter(BaseParameter):
    """A check box. A form leaves it out when it isn't checked.

    Example::

        ask = [util.BooleanParameter("clean", "Begin with an empty directory", default=True)]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    type = "bool"
    default = False

    def value_of(self, given: Mapping[str, Any]) -> Any:
        if not given:  # nobody filled in a form
            return bool(self.default)
        value = given.get(self.fullName)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        if isinstance(value, str):
            return value.strip().lower() not in ("", "0", "false", "no", "off")
        return bool(value)


class ChoiceStringParameter(BaseParameter):
    """One of several texts, or with `multiple` some of them.

    Example::

        ask = [
            util.ChoiceStringParameter(
                "channel", "Where it goes", choices=["nightly", "beta", "stable"], default="nightly"
            )
        ]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    type = "list"
    spec_attributes = (*BaseParameter.spec_attributes, "choices", "strict")

    def __init__(
        self,
        name: str,
        label: str | None = None,
        *,
        choices: Iterable[str] = (),
        strict: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(name, label, **more)
        self.choices = list(choices)
        self.strict = strict

    def getChoices(self) -> list[str]:
        """What can be chosen."""
        return self.choices

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "choices": self.getChoices()}

    def convert(self, item: Any) -> Any:
        if self.strict and item not in self.getChoices():
            raise Refused(f"'{self.label}' has to be one of {', '.join(map(str, self.getChoices()))}")
        return item


class WorkerChoiceParameter(ChoiceStringParameter):
    """A worker, or any: of those that the scheduler's builders have, unless ``choices`` are given.

    The builders obey it with ``canStartBuild=util.enforceChosenWorker``.

    Example::

        ask = [util.WorkerChoiceParameter(label="Where")]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["chosen"], properties=ask))
        c["builders"].append(
            util.BuilderConfig(
                "chosen", workernames=["linux"], factory=factory, canStartBuild=util.enforceChosenWorker
            )
        )
    """

    anySentinel = "-any-"

    def __init__(self, name: str = "workername", label: str | None = None, **more: Any) -> None:
        super().__init__(name, "Worker" if label is None else label, **more)
        if not self.default:
            self.default = self.anySentinel

    def getChoices(self) -> list[str]:
        return [self.anySentinel, *(name for name in self.choices if name != self.anySentinel)]

    def convert(self, item: Any) -> Any:
        return super().convert(item) if self.choices else item

    def value_of(self, given: Mapping[str, Any]) -> Any:
        value = super().value_of(given)
        return None if value == self.anySentinel else value


def enforce_chosen_worker(bldr: Any, workerforbuilder: Any, breq: Any) -> bool:  # noqa: ARG001
    """A ``canStartBuild``: whether the request's property ``workername`` leaves it to this worker.

    Example::

        c["builders"].append(
            util.BuilderConfig(
                "chosen", workernames=["linux"], factory=factory, canStartBuild=util.enforceChosenWorker
            )
        )
    """
    chosen = breq.properties.getProperty("workername")
    return chosen is None or bool(chosen == workerforbuilder.worker.workername)


enforceChosenWorker = enforce_chosen_worker  # noqa: N816 - as configurations call it


class InheritBuildParameter(ChoiceStringParameter):
    """A finished build, written ``builder/number``, whose form's properties are taken over, with its changes.

    What is filled in goes before what is taken over, and that before the defaults; its `owner` becomes
    `orig_owner`. ``compatible_builds`` may choose among the newest builds of the scheduler's builders, a list
    of dicts with builder, number, results and properties; it gives those that fit. Without it all do.

    Example::

        ask = [util.InheritBuildParameter("like", "With the properties of")]
        c["schedulers"].append(schedulers.ForceScheduler("again", builderNames=["tests"], properties=ask))
    """

    type = "inherit"

    def __init__(
        self,
        name: str = "inherit",
        label: str | None = None,
        *,
        compatible_builds: Callable[[list[dict[str, Any]]], Iterable[Mapping[str, Any]]] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(name, "Inherit from" if label is None else label, **{"strict": False, **more})
        if compatible_builds is not None:
            expect(compatible_builds, Callable, f"{self.what}: compatible_builds", "a function")  # type: ignore[arg-type]
        self.compatible_builds = compatible_builds

    def choices_of(self, builds: Sequence[Mapping[str, Any]]) -> list[str]:
        """What can be chosen of these builds."""
        found = [dict(build) for build in builds]
        choose = self.compatible_builds
        what = f"compatible_builds of {self.what}"
        fitting = found if choose is None else limited(what, lambda: choose(found))
        return [f"{build['builder']}/{build['number']}" for build in fitting]

    def convert(self, item: Any) -> Any:
        builder, slash, number = str(item).rpartition("/")
        if not slash or not builder or not number.isascii() or not number.isdecimal() or len(number) > 15:
            raise Refused(f"'{self.label}' has to be a build, as in builder/12")
        return str(item)


class UserNameParameter(StringParameter):
    """Who forces the build; asked only when nobody is logged in.

    Example::

        c["schedulers"].append(
            schedulers.ForceScheduler(
                "force", builderNames=["tests"], username=util.UserNameParameter(label="You are:")
            )
        )
    """

    type = "username"
    spec_attributes = (*StringParameter.spec_attributes, "need_email")

    def __init__(
        self, name: str = "username", label: str = "Your name:", *, need_email: bool = True, **more: Any
    ) -> None:
        super().__init__(name, label, **{"size": 30, **more})
        self.need_email = need_email

    def convert(self, item: Any) -> Any:
        name = str(super().convert(item))
        if self.need_email and not re.search(r"\S+@\S+", name):
            raise Refused(f"'{self.label}' has to be an email address, such as Ann <ann@example.org>")
        return name


class NestedParameter(BaseParameter):
    """A group of parameters.

    Example::

        ask = [
            util.NestedParameter(
                "options",
                "Options",
                layout="vertical",
                fields=[util.IntParameter("jobs", default=4), util.StringParameter("flags", default="-O2")],
            )
        ]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    type = "nested"
    spec_attributes = (*BaseParameter.spec_attributes, "layout", "columns")
    LAYOUTS: ClassVar[tuple[str, ...]] = ("simple", "vertical", "tabs", "horizontal")

    def __init__(
        self,
        name: str = "",
        label: str | None = None,
        *,
        fields: Sequence[BaseParameter] = (),
        layout: str = "vertical",
        columns: int | None = None,
        **more: Any,
    ) -> None:
        super().__init__(name, label, **more)
        if layout not in self.LAYOUTS:
            error(f"{self.what}: layout must be one of {', '.join(self.LAYOUTS)}, not {shown(layout)}")
        self.layout = layout
        self.fields = checked(fields, f"{self.what}: fields")
        visible = sum(not field.hide for field in self.fields)
        self.columns = columns if columns is not None else (2 if visible > 3 else 1)
        if not 1 <= self.columns <= 4:
            error(f"{self.what}: columns must be 1 to 4, not {shown(columns)}")
        self.adopt("")

    def adopt(self, prefix: str) -> None:
        super().adopt(prefix)
        for field in self.fields:
            field.adopt(self.fullName)

    def spec(self) -> dict[str, Any]:
        return {**super().spec(), "fields": [field.spec() for field in self.fields]}

    def collect(self, given: Mapping[str, Any], into: dict[str, Any], problems: Problems) -> None:
        """A group with a name gives a dict; the values of one without stand beside it."""
        inner = into if not self.name else {}
        for field in self.fields:
            field.collect(given, inner, problems)
        if self.name:
            into[self.name] = inner


ParameterGroup = NestedParameter


class AnyPropertyParameter(NestedParameter):
    """A property whose name is asked for, too.

    Example::

        ask = [util.AnyPropertyParameter("extra", "Another property")]
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], properties=ask))
    """

    def __init__(self, name: str, label: str | None = None, **more: Any) -> None:
        fields = [StringParameter("name", "Name:"), StringParameter("value", "Value:")]
        super().__init__(name, label, fields=fields, **more)

    def collect(self, given: Mapping[str, Any], into: dict[str, Any], problems: Problems) -> None:
        inner: dict[str, Any] = {}
        for field in self.fields:
            field.collect(given, inner, problems)
        name = inner.get("name")
        if not name:
            return
        if not re.fullmatch(r"[\w.\-/]+", name):
            problems[self.fields[0].fullName] = f"{name!r} is no name of a property"
            return
        into[name] = inner.get("value", "")


class PatchParameter(NestedParameter):
    """A difference to build with.

    Example::

        ask = util.CodebaseParameter("", patch=util.PatchParameter())
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], codebases=[ask]))
    """

    def __init__(self, name: str = "patch", label: str | None = None, **fields: Any) -> None:
        asked = {
            "body": FileParameter("body"),
            "level": IntParameter("level", default=1),
            "author": StringParameter("author", default=""),
            "comment": StringParameter("comment", default=""),
            "subdir": StringParameter("subdir", default="."),
        }
        own = {key: fields.pop(key) for key in list(asked) if key in fields}
        super().__init__(name, label, fields=list({**asked, **own}.values()), **fields)


class CodebaseParameter(NestedParameter):
    """What to build of one codebase.

    Example::

        ask = util.CodebaseParameter(
            "",
            branch=util.ChoiceStringParameter("branch", choices=["main", "release"], default="main"),
            repository=util.FixedParameter("repository", default="https://git.example.org/project.git"),
        )
        c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["tests"], codebases=[ask]))
    """

    spec_attributes = (*NestedParameter.spec_attributes, "codebase")

    def __init__(
        self,
        codebase: str,
        name: str | None = None,
        label: str | None = None,
        *,
        branch: Any = UNSET,
        revision: Any = UNSET,
        repository: Any = UNSET,
        project: Any = UNSET,
        patch: PatchParameter | None = None,
        **more: Any,
    ) -> None:
        self.codebase = codebase
        asked = {
            "branch": (branch, "Branch:"),
            "revision": (revision, "Revision:"),
            "repository": (repository, "Repository:"),
            "project": (project, "Project:"),
        }
        fields: list[Any] = []
        for key, (value, text) in asked.items():
            if value is UNSET:
                fields.append(StringParameter(key, text))
            elif value is None:
                fields.append(FixedParameter(key, default=""))
            elif isinstance(value, str):
                fields.append(FixedParameter(key, default=value))
            else:
                fields.append(value)
        if patch is not None:
            fields.append(patch)
        if label is None and codebase:
            label = f"Codebase: {codebase}"
        super().__init__(codebase if name is None else name, label, fields=fields, **more)

    def stamp_of(self, given: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
        """The source stamp that was asked for, with None for what was left open."""
        values: dict[str, Any] = {}
        for field in self.fields:
            field.collect(given, values, problems)
        patch = values.pop("patch", None)
        stamp: dict[str, Any] = {"codebase": self.codebase}
        for key in ("branch", "revision"):
            stamp[key] = values.get(key) or None
        for key in ("repository", "project"):
            stamp[key] = values.get(key) or ""
        if patch and patch.get("body"):
            stamp["patch"] = {**patch, "body": patch["body"].encode()}
        return stamp


def checked(parameters: Any, what: str) -> list[Any]:
    """The parameters of a list, with a complaint about whatever else is in it."""
    if not expect(parameters, (list, tuple), what, "a list of parameters"):
        return []
    found = []
    for each in parameters:
        if isinstance(each, BaseParameter):
            found.append(each)
        else:
            error(f"{what} must be parameters, not {shown(each)}")
    return found
