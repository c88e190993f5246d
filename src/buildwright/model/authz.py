"""Who may do what: ``c['www']['authz'] = util.Authz(...)``.

A request is an :class:`Access`: an action (``get``, or a control method's name) on a kind of thing, with the
builders and the owner that the thing has. ``allowRules`` are tried in order. A rule that doesn't match is
passed over; one that matches lets the request in if the user has its role, or else refuses it, unless
``defaultDeny=False`` sends it on to the next rule. What no rule refuses is allowed. A request that concerns
several builders (a form that starts three) must be allowed for each of them.

All of it is pure, and three-valued: of what isn't known (the builder, before anybody has picked one) the
answer is None, "it depends", so that a page can be told beforehand what makes no sense to offer. The web room
finds out what there is to know, and is the only one who asks.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, location, shown
from buildwright.model.roles import RolesFromBase, UserDetails

GET: Final = "get"

Matcher = Callable[[str, str], Any]


def fnmatchStrMatcher(value: str, match: str) -> bool:
    """Whether a role or builder is what a rule says, with ``*`` and ``?`` as in a shell: what
    :class:`Authz` does by default.

    Example::

        c["www"] = {"port": 8010, "authz": util.Authz(stringsMatcher=util.fnmatchStrMatcher)}
    """
    return fnmatch.fnmatchcase(value, match)


def reStrMatcher(value: str, match: str) -> bool:
    """Whether a role or builder begins with what a rule's regular expression matches; ``$`` asks for all of
    it.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                stringsMatcher=util.reStrMatcher,
                allowRules=[util.ForceBuildEndpointMatcher(builder="release-.*", role="(admins|release)$")],
            ),
        }
    """
    return re.match(match, value) is not None


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked for."""

    kind: str
    """The plural of what the path leads to (``builds``, ``forceschedulers``), or its first element
    (``metrics``)."""
    action: str = GET
    """``get``, or the name of a control method (``stop``, ``force``)."""
    builder: str | None = None
    """The builder that it concerns; None for what is of no builder, or of more than one."""
    owner: str | None = None
    """Who had the build, request or buildset made."""
    path: str = ""
    known: bool = True
    """False while builder and owner aren't known."""
    control: bool = False
    """Whether it is for those who may act: every action but ``get``, and reading what only they may read."""


class EndpointMatcherBase(metaclass=Checked):
    """A rule of :class:`Authz`. Subclasses say in :meth:`matches` what it is for.

    Example::

        class PauseWorkers(util.EndpointMatcherBase):
            def matches(self, access, match):
                return access.kind == "workers" and access.action in ("pause", "unpause")


        c["www"] = {"port": 8010, "authz": util.Authz(allowRules=[PauseWorkers(role="operators")])}
    """

    def __init__(self, role: str, defaultDeny: bool = True) -> None:
        self.where = location(self)
        self.role = role
        self.defaultDeny = defaultDeny
        self.what = type(self).__name__
        if expect(role, str, f"{self.what}: role", "text") and not role:
            error(f"{self.what}: role must not be empty", "name the role that this needs")
        if type(self).matches is EndpointMatcherBase.matches:
            foreign = [name for name in dir(self) if name.startswith("match_")]
            error(
                f"{self.what}: nothing calls {foreign[0]}" if foreign else f"{self.what} is for no request",
                "override matches(self, access, match), which gets the action and the kind of thing",
                self.where,
            )

    def matches(self, access: Access, match: Matcher) -> bool | None:  # noqa: ARG002
        """Whether this rule is for a request; None if that depends on what isn't known yet. ``match`` is
        Authz's stringsMatcher.
        """
        return False

    @property
    def reads(self) -> bool:
        """Whether it may be for reading, too."""
        return True

    def __repr__(self) -> str:
        return f"<{self.what} role={self.role!r}>"


class AnyEndpointMatcher(EndpointMatcherBase):
    """Every request, reading included.

    Example::

        c["www"] = {
            "port": 8010,
            "auth": util.UserPasswordAuth({"ann": util.Secret("password-of-ann")}),
            "authz": util.Authz(
                allowRules=[util.AnyEndpointMatcher(role="staff")],
                roleMatchers=[util.RolesFromUsername(roles=["staff"], usernames=["ann"])],
            ),
        }
    """

    def matches(self, access: Access, match: Matcher) -> bool | None:  # noqa: ARG002
        return True


class _ControlMatcher(EndpointMatcherBase):
    """One for acting only."""

    @property
    def reads(self) -> bool:
        return False


class AnyControlEndpointMatcher(_ControlMatcher):
    """Every request that acts; also reading the audit, which is for those who may act.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[util.AnyControlEndpointMatcher(role="admins")],
                roleMatchers=[util.RolesFromEmails(admins=["ann@example.org"])],
            ),
        }
    """

    def matches(self, access: Access, match: Matcher) -> bool | None:  # noqa: ARG002
        return access.control


class _OfBuilder(_ControlMatcher):
    """One that may be for some builders only."""

    actions: frozenset[tuple[str, str]] = frozenset()

    def __init__(self, builder: str | None = None, *, role: str, defaultDeny: bool = True) -> None:
        super().__init__(role, defaultDeny)
        self.builder = builder

    def matches(self, access: Access, match: Matcher) -> bool | None:
        if (access.kind, access.action) not in self.actions:
            return False
        if self.builder is None:
            return True
        if not access.known:
            return None
        # What can't be told from one of its builders is treated as one.
        return access.builder is None or bool(match(access.builder, self.builder))


class ForceBuildEndpointMatcher(_OfBuilder):
    """Forcing builds; with ``builder``, of the builders that it names.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[
                    util.ForceBuildEndpointMatcher(builder="release-*", role="release"),
                    util.ForceBuildEndpointMatcher(role="developers"),
                ],
                roleMatchers=[util.RolesFromGroups()],
            ),
        }
    """

    actions = frozenset({("forceschedulers", "force")})


class StopBuildEndpointMatcher(_OfBuilder):
    """Stopping builds and cancelling requests; with ``builder``, of the builders that it names.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[
                    util.StopBuildEndpointMatcher(role="owner", defaultDeny=False),
                    util.StopBuildEndpointMatcher(role="admins"),
                ],
                roleMatchers=[util.RolesFromOwner(role="owner"), util.RolesFromGroups(groupPrefix="ci-")],
            ),
        }
    """

    actions = frozenset({("builds", "stop"), ("buildrequests", "cancel")})


class RebuildBuildEndpointMatcher(_OfBuilder):
    """Rebuilding; with ``builder``, what the builders that it names have built.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(allowRules=[util.RebuildBuildEndpointMatcher(role="developers")]),
        }
    """

    actions = frozenset({("builds", "rebuild")})


class EnableSchedulerEndpointMatcher(_ControlMatcher):
    """Switching schedulers on and off.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(allowRules=[util.EnableSchedulerEndpointMatcher(role="admins")]),
        }
    """

    def matches(self, access: Access, match: Matcher) -> bool | None:  # noqa: ARG002
        return (access.kind, access.action) == ("schedulers", "enable")


class Verdict(NamedTuple):
    """Whether a request is allowed (None: it depends), and the role that it would need."""

    allowed: bool | None
    role: str = ""


ALLOWED: Final = Verdict(allowed=True)


class Authz(metaclass=Checked):
    """Rules, and what gives users the roles that they ask for.

    Example::

        c["www"] = {
            "port": 8010,
            "auth": util.UserPasswordAuth({"ann": util.Secret("password-of-ann")}),
            "authz": util.Authz(
                allowRules=[
                    util.StopBuildEndpointMatcher(role="owner", defaultDeny=False),
                    util.AnyControlEndpointMatcher(role="admins"),
                ],
                roleMatchers=[
                    util.RolesFromUsername(roles=["admins"], usernames=["ann"]),
                    util.RolesFromOwner(role="owner"),
                ],
            ),
        }
    """

    def __init__(
        self,
        allowRules: Sequence[Any] | None = None,
        roleMatchers: Sequence[Any] | None = None,
        stringsMatcher: Callable[..., Any] = fnmatchStrMatcher,
    ) -> None:
        self.where = location(self)
        self.allowRules: list[EndpointMatcherBase] = _of_type(
            allowRules,
            EndpointMatcherBase,
            "Authz: allowRules",
            "as in util.AnyControlEndpointMatcher(role='admins')",
        )
        self.roleMatchers: list[RolesFromBase] = _of_type(
            roleMatchers, RolesFromBase, "Authz: roleMatchers", "as in util.RolesFromGroups()"
        )
        self.match: Matcher = stringsMatcher
        if stringsMatcher is reStrMatcher:
            for rule in self.allowRules:
                for pattern in (rule.role, getattr(rule, "builder", None)):
                    _check_pattern(pattern, rule)

    @property
    def guards_reading(self) -> bool:
        """Whether a rule may be for reading."""
        return any(rule.reads for rule in self.allowRules)

    def groups_with_roles(self, user: UserDetails) -> list[str]:
        """Those of a user's groups that give roles which a rule asks for."""
        found = []
        for group in user.get("groups") or ():
            alone = {**user, "groups": [group]}
            roles = {role for each in self.roleMatchers for role in each.getRolesFromUser(alone)}
            without = {**user, "groups": []}
            roles -= {role for each in self.roleMatchers for role in each.getRolesFromUser(without)}
            if any(self._has(roles, rule.role) for rule in self.allowRules):
                found.append(group)
        return found

    def asks_of_things(self, access: Access) -> bool:
        """Whether it matters of which builder or owner a thing is."""
        unknown = replace(access, known=False)
        own = any(
            type(each).getRolesFromOwner is not RolesFromBase.getRolesFromOwner for each in self.roleMatchers
        )
        for rule in self.allowRules:
            matches = self._matches(rule, unknown)
            if matches is None or (matches and own) or not type(rule).__module__.startswith("buildwright."):
                return True
        return False

    def judge(self, user: UserDetails, access: Access, builders: Collection[str] = ()) -> Verdict:
        """Whether a user may do something, for each of ``builders`` if there are any."""
        roles = {role for each in self.roleMatchers for role in each.getRolesFromUser(user)}
        owned: set[str] = set()
        if not access.known or access.owner is not None:
            owner = access.owner if access.known else None
            owned = {role for each in self.roleMatchers for role in each.getRolesFromOwner(user, owner)}
        if access.known:
            roles, owned = roles | owned, set()
        for builder in builders or (access.builder,):
            verdict = self._judge(replace(access, builder=builder), roles, owned, 0)
            if not verdict.allowed:
                return verdict
        return ALLOWED

    def _judge(self, access: Access, roles: set[str], perhaps: set[str], at: int) -> Verdict:
        while at < len(self.allowRules):
            rule = self.allowRules[at]
            at += 1
            matches = self._matches(rule, access)
            if matches is False:
                continue
            if self._has(roles, rule.role):
                if matches:
                    return ALLOWED
                found = ALLOWED
            elif self._has(perhaps, rule.role):
                rest = (
                    Verdict(False, rule.role) if rule.defaultDeny else self._judge(access, roles, perhaps, at)
                )
                found = _either(ALLOWED, rest)
                if matches:
                    return found
            elif not rule.defaultDeny:
                continue
            else:
                found = Verdict(False, rule.role)
                if matches:
                    return found
            return _either(found, self._judge(access, roles, perhaps, at))
        return ALLOWED

    def _matches(self, rule: EndpointMatcherBase, access: Access) -> bool | None:
        """What a rule says; a user's own may end without a word, which is no."""
        found = rule.matches(access, self.match)
        return None if found is None and not access.known else bool(found)

    def _has(self, roles: set[str], wanted: str) -> bool:
        return any(self.match(role, wanted) for role in roles)

    def __repr__(self) -> str:
        return f"<Authz of {len(self.allowRules)} rules>"


def _either(one: Verdict, other: Verdict) -> Verdict:
    if one.allowed == other.allowed:
        return one
    return Verdict(None, one.role or other.role)


def _of_type(given: Any, kind: type, what: str, hint: str) -> list[Any]:
    found = []
    for each in given if isinstance(given, (list, tuple)) else ():
        if isinstance(each, kind):
            found.append(each)
        else:
            error(f"{what} must be a list of rules, and has {shown(each)} in it", hint)
    return found


def _check_pattern(pattern: Any, rule: EndpointMatcherBase) -> None:
    try:
        re.compile(pattern or "")
    except (re.error, TypeError) as problem:
        error(f"{rule.what}: {pattern!r} is no regular expression: {problem}", None, rule.where)
