"""What gives users roles, of what their login tells of them: the ``roleMatchers`` of ``util.Authz``.

A user is a dict: ``username``, and ``email``, ``full_name``, ``groups`` as far as the login tells them;
whoever isn't logged in is ``{"anonymous": True}``. What people can choose as they like gives no role: not the
full name, and an address only because the login has verified it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from buildwright.model.arguments import Checked
from buildwright.model.errors import error, expect, shown

UserDetails = Mapping[str, Any]


class RolesFromBase(metaclass=Checked):
    """What gives a user roles. Subclasses override :meth:`getRolesFromUser`, which gets what is known of a
    user: ``username``, ``email``, ``full_name``, ``groups``, as far as the login tells them; or
    ``{"anonymous": True}``.

    Example::

        class EverybodyWhoIsLoggedIn(util.RolesFromBase):
            def getRolesFromUser(self, userDetails):
                return [] if userDetails.get("anonymous") else ["members"]


        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[util.AnyControlEndpointMatcher(role="members")],
                roleMatchers=[EverybodyWhoIsLoggedIn()],
            ),
        }
    """

    def getRolesFromUser(self, userDetails: UserDetails) -> Iterable[str]:  # noqa: ARG002
        """The roles of a user."""
        return ()

    def getRolesFromOwner(self, userDetails: UserDetails, owner: str | None) -> Iterable[str]:  # noqa: ARG002
        """More roles, for what this owner had made; of an ``owner`` that isn't known (None), those that the
        user might have.
        """
        return ()


class RolesFromGroups(RolesFromBase):
    """A user's groups that begin with ``groupPrefix``, without it, are roles.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[util.AnyControlEndpointMatcher(role="admins")],
                roleMatchers=[util.RolesFromGroups(groupPrefix="ci-")],
            ),
        }
    """

    def __init__(self, groupPrefix: str = "") -> None:
        self.groupPrefix = groupPrefix
        expect(groupPrefix, str, "RolesFromGroups: groupPrefix", "text")

    def getRolesFromUser(self, userDetails: UserDetails) -> Iterable[str]:
        prefix = self.groupPrefix
        groups = [each for each in userDetails.get("groups") or () if isinstance(each, str)]
        return [each.removeprefix(prefix) for each in groups if each.startswith(prefix)]


class RolesFromEmails(RolesFromBase):
    """Roles with the addresses of those who have them. Case doesn't count.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[util.AnyControlEndpointMatcher(role="admins")],
                roleMatchers=[util.RolesFromEmails(admins=["ann@example.org", "bob@example.org"])],
            ),
        }
    """

    def __init__(self, **kwargs: Sequence[str]) -> None:
        self.roles = {role: _texts(emails, f"RolesFromEmails: {role}") for role, emails in kwargs.items()}

    def getRolesFromUser(self, userDetails: UserDetails) -> Iterable[str]:
        email = _folded(userDetails.get("email"))
        return [role for role, emails in self.roles.items() if email and email in emails]


class RolesFromDomain(RolesFromBase):
    """Roles with the domains of the addresses of those who have them: all that stands after the ``@``.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[util.AnyControlEndpointMatcher(role="staff")],
                roleMatchers=[util.RolesFromDomain(staff=["example.org"])],
            ),
        }
    """

    def __init__(self, **kwargs: Sequence[str]) -> None:
        self.roles = {role: _texts(domains, f"RolesFromDomain: {role}") for role, domains in kwargs.items()}

    def getRolesFromUser(self, userDetails: UserDetails) -> Iterable[str]:
        _, at, domain = _folded(userDetails.get("email")).rpartition("@")
        return [role for role, domains in self.roles.items() if at and domain in domains]


class RolesFromUsername(RolesFromBase):
    """All of ``roles`` for the users with these names. An API token's name is ``token:`` and what it was
    made as.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[util.AnyControlEndpointMatcher(role="admins")],
                roleMatchers=[
                    util.RolesFromUsername(roles=["admins"], usernames=["ann", "token:release-script"])
                ],
            ),
        }
    """

    def __init__(self, roles: Sequence[str], usernames: Sequence[str]) -> None:
        self.roles = _list(roles, "RolesFromUsername: roles")
        self.usernames = _list(usernames, "RolesFromUsername: usernames")

    def getRolesFromUser(self, userDetails: UserDetails) -> Iterable[str]:
        return self.roles if userDetails.get("username") in self.usernames else []


class RolesFromOwner(RolesFromBase):
    """A role for what a user has had made: if the ``owner`` of the build or request is the user's address.

    Example::

        c["www"] = {
            "port": 8010,
            "authz": util.Authz(
                allowRules=[util.RebuildBuildEndpointMatcher(role="owner")],
                roleMatchers=[util.RolesFromOwner(role="owner")],
            ),
        }
    """

    def __init__(self, role: str) -> None:
        self.role = role
        expect(role, str, "RolesFromOwner: role", "text")

    def getRolesFromOwner(self, userDetails: UserDetails, owner: str | None) -> Iterable[str]:
        own = userDetails.get("email") or userDetails.get("username")
        return [self.role] if own and owner in (None, own) else []


def _list(given: Any, what: str) -> list[str]:
    if isinstance(given, str):
        error(f"{what} must be a list of texts, not {shown(given)}", f"write [{given!r}]")
        return [given]
    return [each for each in given if expect(each, str, f"{what}: each", "text")]


def _texts(given: Any, what: str) -> set[str]:
    return {_folded(each) for each in _list(given, what)}


def _folded(text: Any) -> str:
    return text.casefold() if isinstance(text, str) else ""
