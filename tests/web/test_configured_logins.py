"""Logins and rules of a configuration, in a master that runs it."""

from pathlib import Path
from typing import Any

import aiohttp

from tests.support.rig import rig

CONFIG = """
class Fixed(util.CustomAuth):
    def check_credentials(self, user, password):
        return password == "of " + user

class Groups:
    def getUserInfo(self, username):
        return {"groups": ["ci-" + username], "email": username + "@example.org"}

c["www"].update(
    auth=Fixed(userInfoProvider=Groups()),
    cookie_expiration_time=3600,
    authz=util.Authz(
        allowRules=[
            util.ForceBuildEndpointMatcher(builder="b", role="builders"),
            util.StopBuildEndpointMatcher(role="nobody"),
            util.EnableSchedulerEndpointMatcher(role="friends"),
            util.AnyControlEndpointMatcher(role="ann"),
        ],
        roleMatchers=[
            util.RolesFromGroups(groupPrefix="ci-"),
            util.RolesFromUsername(roles=["builders"], usernames=["bob"]),
            util.RolesFromEmails(builders=["ann@example.org"]),
            util.RolesFromDomain(friends=["example.org"]),
        ],
        stringsMatcher=util.MATCHER,
    ),
)
builder("b", steps.ShellCommand(command=["true"]))
c["schedulers"].append(schedulers.ForceScheduler("force", builderNames=["b"]))
"""


async def test_with_shell_patterns(tmp_path: Path) -> None:
    """util.fnmatchStrMatcher, CustomAuth, cookie_expiration_time, authz."""
    await _everybody_may_what_the_rules_say(tmp_path, "fnmatchStrMatcher")


async def test_with_regular_expressions(tmp_path: Path) -> None:
    """util.reStrMatcher."""
    await _everybody_may_what_the_rules_say(tmp_path, "reStrMatcher")


async def _everybody_may_what_the_rules_say(tmp_path: Path, matcher: str) -> None:
    async with rig(tmp_path, "sqlite:///state.sqlite", CONFIG.replace("MATCHER", matcher)) as it:
        ann, bob = await _may(it.port, "ann"), await _may(it.port, "bob")
        assert [ann["forceschedulers"]["force"], ann["workers"]["pause"]] == [True, True]
        # Whether bob may force depends on the builders that he picks.
        assert [bob["forceschedulers"]["force"], bob["workers"]["pause"]] == [None, False]
        assert [who["builds"]["stop"] for who in (ann, bob)] == [False, False]
        assert [who["schedulers"]["enable"] for who in (ann, bob)] == [True, True]


async def _may(port: int, name: str) -> dict[str, dict[str, bool | None]]:
    """What somebody may, once logged in for an hour."""
    url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        given = {"username": name, "password": f"of {name}"}
        async with http.post(f"{url}/auth/login", json=given) as response:
            assert response.status == 200, await response.text()
            assert [int(cookie["max-age"]) for cookie in response.cookies.values()] == [3600]
        answers: dict[str, dict[str, bool | None]] = {}
        for kind, path in (
            ("forceschedulers", "forceschedulers/force"),
            ("workers", "workers/1"),
            ("builds", "builds/1"),
            ("schedulers", "schedulers/1"),
        ):
            async with http.get(f"{url}/auth/permissions", params={"path": f"/{path}"}) as response:
                told: Any = await response.json()
            answers[kind] = {method: verdict["allowed"] for method, verdict in told["methods"].items()}
        return answers
