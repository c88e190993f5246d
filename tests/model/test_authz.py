"""Rules and roles by themselves: their order, what they match, and what is said before all is known."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildwright.model import authz, roles
from buildwright.model.authz import Access, Authz, Verdict, fnmatchStrMatcher, reStrMatcher
from buildwright.model.errors import ConfigErrors

FORCE = Access("forceschedulers", "force", control=True)
STOP = Access("builds", "stop", control=True)
CANCEL = Access("buildrequests", "cancel", control=True)
REBUILD = Access("builds", "rebuild", control=True)
ENABLE = Access("schedulers", "enable", control=True)
PAUSE = Access("workers", "pause", control=True)
READ = Access("builds")
AUDIT = Access("audits", control=True)
ALL = (FORCE, STOP, CANCEL, REBUILD, ENABLE, PAUSE, READ, AUDIT)


@pytest.mark.parametrize(
    ("rule", "matched"),
    [
        (authz.AnyEndpointMatcher(role="r"), ALL),
        (authz.AnyControlEndpointMatcher(role="r"), tuple(each for each in ALL if each is not READ)),
        (authz.ForceBuildEndpointMatcher(role="r"), (FORCE,)),
        (authz.StopBuildEndpointMatcher(role="r"), (STOP, CANCEL)),
        (authz.RebuildBuildEndpointMatcher(role="r"), (REBUILD,)),
        (authz.EnableSchedulerEndpointMatcher(role="r"), (ENABLE,)),
        (authz.StopBuildEndpointMatcher(builder="a*", role="r"), (STOP, CANCEL)),
        (authz.StopBuildEndpointMatcher(builder="b", role="r"), ()),
    ],
)
def test_what_a_rule_is_for(rule: Any, matched: Sequence[Access]) -> None:
    rules = Authz([rule])
    for access in ALL:
        allowed = rules.judge({}, replace(access, builder="abc")).allowed
        assert allowed is (access not in matched), access


@pytest.mark.parametrize(
    ("matcher", "user", "found"),
    [
        (roles.RolesFromUsername(["a", "b"], ["ann"]), {"username": "ann"}, {"a", "b"}),
        (roles.RolesFromUsername(["a"], ["ann"]), {"username": "Ann", "email": "ann"}, set()),
        (roles.RolesFromUsername(["a"], ["ann"]), {"anonymous": True}, set()),
        (roles.RolesFromEmails(a=["ann@x.org"], b=["bob@x.org"]), {"email": "Ann@X.org"}, {"a"}),
        (roles.RolesFromEmails(a=["ann@x.org"]), {"username": "ann@x.org"}, set()),
        (roles.RolesFromEmails(a=[""]), {"email": ""}, set()),
        (roles.RolesFromDomain(a=["x.org"], b=["y.org"]), {"email": "ann@X.ORG"}, {"a"}),
        (roles.RolesFromDomain(a=["x.org"]), {"email": "ann@sub.x.org"}, set()),
        (roles.RolesFromDomain(a=["x.org"]), {"email": "ann@evilx.org"}, set()),
        (roles.RolesFromDomain(a=["x.org"]), {"email": "x.org"}, set()),
        (roles.RolesFromDomain(a=["x.org"]), {"email": "ann@x.org@y.org"}, set()),
        (roles.RolesFromGroups(), {"groups": ["a", "b"]}, {"a", "b"}),
        (roles.RolesFromGroups("ci-"), {"groups": ["ci-a", "b", "xci-c"]}, {"a"}),
        (roles.RolesFromGroups(), {"groups": None}, set()),
    ],
)
def test_roles(matcher: Any, user: dict[str, Any], found: set[str]) -> None:
    assert set(matcher.getRolesFromUser(user)) == found


@pytest.mark.parametrize(
    ("user", "owner", "has"),
    [
        ({"email": "ann@x.org", "username": "ann"}, "ann@x.org", True),
        ({"email": "ann@x.org", "username": "ann"}, "ann", False),
        ({"username": "ann"}, "ann", True),
        ({"full_name": "ann"}, "ann", False),  # anybody can call themselves that
        ({"anonymous": True}, "anonymous", False),
        ({"email": "", "username": ""}, "", False),
    ],
)
def test_roles_of_owners(user: dict[str, Any], owner: str, has: bool) -> None:
    rules = Authz([authz.StopBuildEndpointMatcher(role="own")], [roles.RolesFromOwner(role="own")])
    assert rules.judge(user, replace(STOP, owner=owner)).allowed is has
    assert rules.judge(user, STOP).allowed is False


def test_rules_are_tried_in_order() -> None:
    rules = Authz(
        [
            authz.StopBuildEndpointMatcher(role="stoppers", defaultDeny=False),
            authz.AnyControlEndpointMatcher(role="admins", defaultDeny=False),
            authz.StopBuildEndpointMatcher(role="nobody at all"),
        ],
        [roles.RolesFromGroups()],
    )
    assert rules.judge({"groups": ["stoppers"]}, STOP).allowed
    assert rules.judge({"groups": ["admins"]}, STOP).allowed
    assert rules.judge({"groups": []}, STOP) == Verdict(False, "nobody at all")
    assert rules.judge({"groups": []}, PAUSE).allowed  # no rule refuses it
    assert Authz().judge({}, PAUSE).allowed


def test_patterns() -> None:
    assert fnmatchStrMatcher("release-1", "release-*")
    assert not fnmatchStrMatcher("Release-1", "release-*")
    assert reStrMatcher("release-1", "release-[0-9]+$")
    assert reStrMatcher("admins-of-something", "admins")  # as Buildbot has it
    assert not reStrMatcher("no-admins", "admins")
    rules = Authz(
        [authz.ForceBuildEndpointMatcher(builder="a|b", role="(x|y)$")],
        [roles.RolesFromGroups()],
        stringsMatcher=reStrMatcher,
    )
    assert rules.judge({"groups": ["y"]}, replace(FORCE, builder="b")).allowed
    assert not rules.judge({"groups": ["yy"]}, replace(FORCE, builder="b")).allowed
    assert rules.judge({"groups": ["yy"]}, replace(FORCE, builder="c")).allowed


def test_each_of_several_builders_must_be_allowed() -> None:
    rules = Authz(
        [
            authz.ForceBuildEndpointMatcher(builder="a", role="devs"),
            authz.ForceBuildEndpointMatcher(builder="b", role="admins"),
        ],
        [roles.RolesFromGroups()],
    )
    devs = {"groups": ["devs"]}
    assert rules.judge(devs, FORCE, ["a"]).allowed
    assert rules.judge(devs, FORCE, ["a", "c"]).allowed
    assert rules.judge(devs, FORCE, ["a", "b"]) == Verdict(False, "admins")
    assert rules.judge({"groups": []}, FORCE, ["c", "a"]) == Verdict(False, "devs")
    # A form that names none is as one that starts all.
    assert not rules.judge({"groups": []}, FORCE).allowed


RULES = st.builds(
    lambda kind, role, deny, builder: (
        kind(builder=builder, role=role, defaultDeny=deny)
        if kind in (authz.StopBuildEndpointMatcher, authz.RebuildBuildEndpointMatcher)
        else kind(role=role, defaultDeny=deny)
    ),
    st.sampled_from(
        [
            authz.StopBuildEndpointMatcher,
            authz.RebuildBuildEndpointMatcher,
            authz.AnyControlEndpointMatcher,
            authz.AnyEndpointMatcher,
        ]
    ),
    st.sampled_from(["devs", "admins", "own", "*"]),
    st.booleans(),
    st.sampled_from([None, "a", "b", "*"]),
)


@given(
    st.lists(RULES, max_size=5),
    st.lists(st.sampled_from(["devs", "admins"]), unique=True),
    st.sampled_from([STOP, REBUILD, PAUSE, READ]),
)
def test_what_is_said_beforehand_is_kept(rules: list[Any], groups: list[str], access: Access) -> None:
    """Yes is yes for every builder and owner, no is no for all; what depends does so."""
    made = Authz(rules, [roles.RolesFromGroups(), roles.RolesFromOwner(role="own")])
    user = {"email": "ann", "groups": groups}
    said = made.judge(user, replace(access, known=False)).allowed
    known = [
        made.judge(user, replace(access, builder=builder, owner=owner)).allowed
        for builder in ("a", "b", "c")
        for owner in ("ann", "bob", None)
    ]
    assert None not in known
    if said is not None:
        assert set(known) == {said}
    # Where things aren't asked for, they make no difference.
    if not made.asks_of_things(access):
        assert len(set(known)) == 1
    if access is READ and not made.guards_reading:
        assert set(known) == {True}


def test_groups_that_matter() -> None:
    rules = Authz([authz.AnyControlEndpointMatcher(role="admins")], [roles.RolesFromGroups("ci-")])
    assert rules.groups_with_roles({"groups": ["ci-admins", "ci-others", "admins"]}) == ["ci-admins"]


class ForBuildbot(authz.EndpointMatcherBase):
    def match_BuildEndpoint_stop(self, *_args: Any) -> None:
        pass


class Silent(authz.EndpointMatcherBase):
    def matches(self, access: Access, match: Any) -> Any:
        if access.kind == "workers":
            return match(access.action, "pa*")
        return None  # a function that ends without a word


def test_a_rule_of_ones_own() -> None:
    rules = Authz([Silent(role="r")])
    assert not rules.judge({}, PAUSE).allowed
    assert rules.judge({}, STOP).allowed
    assert rules.guards_reading
    with pytest.raises(ConfigErrors, match="nothing calls match_BuildEndpoint_stop"):
        ForBuildbot(role="r")
    with pytest.raises(ConfigErrors, match="EndpointMatcherBase is for no request"):
        authz.EndpointMatcherBase(role="r")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Authz([roles.RolesFromGroups()]), "allowRules must be a list of rules"),
        (lambda: Authz([], [authz.AnyEndpointMatcher(role="r")]), "roleMatchers must be a list of rules"),
        (lambda: authz.AnyEndpointMatcher(role=""), "role must not be empty"),
        (lambda: roles.RolesFromUsername(["a"], "ann"), "usernames must be a list of texts"),
        (lambda: roles.RolesFromEmails(a="ann@x.org"), "a must be a list of texts"),
        (
            lambda: Authz([authz.AnyEndpointMatcher(role="(")], stringsMatcher=reStrMatcher),
            "is no regular expression",
        ),
    ],
)
def test_mistakes(make: Any, said: str) -> None:
    with pytest.raises(ConfigErrors, match=said):
        make()
