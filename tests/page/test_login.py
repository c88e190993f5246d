"""Logging in on the page: being asked where it is needed, being refused, and what one may not do."""

import pytest
from playwright.async_api import Page, expect

from buildwright.model.authz import AnyControlEndpointMatcher, AnyEndpointMatcher, Authz
from buildwright.model.logins import UserPasswordAuth
from buildwright.model.roles import RolesFromUsername
from buildwright.web.auth.tokens import new_token
from tests.support.webserver import Server, snapshot
from tests.web.conftest import SMALL

LAST = SMALL.builds
USERS = UserPasswordAuth({"ann": "of ann", "eve": "of eve"})
ROLES = [RolesFromUsername(roles=["admins"], usernames=["ann"])]


@pytest.fixture
def guarded(fresh: Server) -> Server:
    """A master on which only admins act."""
    fresh.snapshot = snapshot(auth=USERS, authz=Authz([AnyControlEndpointMatcher(role="admins")], ROLES))
    return fresh


async def test_who_acts_is_asked_to_log_in_first(guarded: Server, page: Page, faults: list[str]) -> None:
    await page.goto(f"{guarded.url}/#/builds/{LAST}")
    await page.get_by_role("button", name="Stop").click()
    await log_in(page, "ann", "wrong")
    await page.get_by_role("alert").get_by_text("no user has this name and password").wait_for()
    faults.clear()  # the browser notes the refusal
    await page.get_by_label("Password").fill("of ann")
    await page.keyboard.press("Enter")
    # It goes on with what was asked for.
    await page.get_by_label("Reason").fill("enough")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("text=The build is being stopped.")
    await page.get_by_role("region", name="Who did what").get_by_text("ann").wait_for()
    await page.get_by_role("button", name="Log out").click()
    await page.get_by_role("button", name="Log in").wait_for()


async def test_who_may_not_is_told_why(guarded: Server, page: Page) -> None:
    await page.goto(f"{guarded.url}/#/builds/{LAST}")
    await page.get_by_role("button", name="Log in").click()
    await log_in(page, "eve", "of eve")
    await page.get_by_text("eve", exact=True).wait_for()
    stop = page.get_by_role("button", name="Stop")
    await expect(stop).to_be_disabled()
    await expect(stop).to_have_attribute(
        "title", "you need to have role 'admins' to stop builds: eve hasn't got it"
    )


async def test_where_reading_needs_a_login(fresh: Server, page: Page, faults: list[str]) -> None:
    fresh.snapshot = snapshot(auth=USERS, authz=Authz([AnyEndpointMatcher(role="admins")], ROLES))
    await page.goto(fresh.url)
    await page.get_by_role("region", name="Running").get_by_role("button", name="Log in").click()
    await log_in(page, "ann", "of ann")
    await page.get_by_role("region", name="Running").get_by_role("link").first.wait_for()
    await page.wait_for_selector(".live.open")
    faults.clear()  # the browser notes every refusal


async def test_without_logins_a_token_is_asked_for(fresh: Server, page: Page) -> None:
    token, hashed = new_token()
    fresh.tokens = {hashed: "script"}
    await page.goto(f"{fresh.url}/#/builds/{LAST}")
    await page.get_by_role("button", name="Stop").click()
    await page.get_by_label("API token").fill(token)
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Stop it").click()
    await page.wait_for_selector("text=The build is being stopped.")


async def log_in(page: Page, name: str, password: str) -> None:
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_label("Password").fill(password)
    await page.keyboard.press("Enter")
