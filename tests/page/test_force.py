"""Forms of force schedulers: every kind of field, what the master refuses, where success leads."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import FilePayload, Locator, Page, expect

from buildwright.plugins import schedulers, util
from buildwright.store.unit import Hint
from tests.support.webserver import Server, execute, snapshot

BUILDER = "waits-for-arm"
SCRIPT = "<img src=x onerror=document.title='ran'>"


class Form:
    """The dialog of a form whose properties are these, on the builder's page."""

    def __init__(self, server: Server, page: Page) -> None:
        self.server = server
        self.page = page
        self.dialog = page.get_by_role("dialog")

    async def open(self, *properties: Any, **more: Any) -> None:
        self.server.forms["force"] = schedulers.ForceScheduler(
            "force", [BUILDER], properties=list(properties), **more
        )
        await self.page.goto(f"{self.server.url}/#/builders/{BUILDER}/force/force")
        await self.dialog.wait_for()

    def field(self, label: str) -> Locator:
        return self.dialog.get_by_label(label, exact=True)

    async def send(self) -> None:
        await self.dialog.get_by_role("button", name="force", exact=True).click()

    async def taken(self) -> dict[str, Any]:
        """The properties of the request that the form led to."""
        await self.page.wait_for_url(re.compile(r"#/buildrequests/\d+"))
        requestid = re.findall(r"\d+", self.page.url)[-1]
        answer = await self.page.request.get(f"{self.server.url}/api/v2/buildrequests/{requestid}?property=*")
        [request] = (await answer.json())["buildrequests"]
        return {name: value for name, (value, _) in request["properties"].items()}


@pytest.fixture
def form(fresh: Server, page: Page) -> Form:
    return Form(fresh, page)


async def test_a_button_opens_the_form_and_success_leads_to_the_request(
    fresh: Server, form: Form, page: Page
) -> None:
    await page.goto(f"{fresh.url}/#/builders/1")
    await page.get_by_role("link", name="force", exact=True).click()
    await expect(form.dialog.get_by_role("heading")).to_have_text("force: waits-for-arm")
    await expect(form.field("Your name:")).to_be_focused()
    await form.field("Your name:").fill("Ann <ann@example.org>")
    await form.field("reason").fill("to see it")
    await page.keyboard.press("Enter")
    properties = await form.taken()
    assert (properties["owner"], properties["reason"]) == ("Ann <ann@example.org>", "to see it")
    await expect(page.get_by_text("waits-for-arm is asked to build")).to_be_visible()
    await page.go_back()
    await expect(page.locator("h1")).to_have_text(BUILDER)
    await expect(form.dialog).to_have_count(0)


async def test_escape_closes_it(fresh: Server, form: Form, page: Page) -> None:
    await form.open()
    await page.keyboard.press("Escape")
    await expect(form.dialog).to_have_count(0)
    assert page.url.endswith(f"#/builders/{BUILDER}")


async def test_every_kind_of_field_says_what_was_filled_in(form: Form, page: Page) -> None:
    await form.open(
        util.StringParameter("version", "Version"),
        util.TextParameter("notes", "Notes"),
        util.IntParameter("jobs", "Jobs", default=4),
        util.BooleanParameter("clean", "Clean"),
        util.BooleanParameter("fast", "Fast", default=True),
        util.ChoiceStringParameter("channel", "Channel", choices=["beta", "stable"], default="beta"),
        util.ChoiceStringParameter("open", "Open", choices=["a", "b"], strict=False, default="a"),
        util.ChoiceStringParameter("parts", "Parts", choices=["x", "y", "z"], multiple=True, default=["x"]),
        util.ChoiceStringParameter("more", "More", choices=["m"], multiple=True, strict=False),
        util.StringParameter("lines", "Lines", multiple=True, default=["one"]),
        util.WorkerChoiceParameter(label="Where", choices=["arm-board", "worker-2"]),
        util.FixedParameter("fixed", "Fixed", default="as it is", hide=False),
        util.StringParameter("unseen", "Unseen", default="kept", hide=True),
        util.BooleanParameter("unseen_flag", "Unseen flag", default=True, hide=True),
        util.NestedParameter("group", "Group", fields=[util.StringParameter("inner", "Inner")]),
        util.AnyPropertyParameter("extra", "Another"),
    )
    await form.field("Version").fill("1.2")
    await form.field("Notes").fill("first\nsecond")
    await form.field("Jobs").fill("12")
    await form.field("Clean").check()
    await form.field("Fast").uncheck()
    await form.field("Channel").select_option("stable")
    await form.field("Open").select_option(label="another …")
    await form.field("Open: another").fill("c")
    parts = form.dialog.get_by_role("group", name="Parts")
    await parts.get_by_label("x").uncheck()
    await parts.get_by_label("z").check()
    await form.dialog.get_by_label("Others, one per line").fill("n\no")
    await form.field("Lines").fill("two\nthree")
    await form.field("Where").select_option("worker-2")
    await expect(form.dialog.locator("output")).to_have_text("as it is")
    await expect(form.dialog.get_by_text("Unseen")).to_have_count(0)
    await form.field("Inner").fill("inside")
    await form.field("Name:").fill("another")
    await form.field("Value:").fill("thing")
    await form.send()
    properties = await form.taken()
    for name in ("owner", "reason", "scheduler"):
        del properties[name]
    assert properties == {
        "version": "1.2",
        "notes": "first\nsecond",
        "jobs": 12,
        "clean": True,
        "fast": False,
        "channel": "stable",
        "open": "c",
        "parts": ["z"],
        "more": ["n", "o"],
        "lines": ["two", "three"],
        "workername": "worker-2",
        "fixed": "as it is",
        "unseen": "kept",
        "unseen_flag": True,
        "group": {"inner": "inside"},
        "another": "thing",
    }


async def test_sources_a_patch_and_a_build_to_inherit_from(fresh: Server, form: Form, page: Page) -> None:
    await form.open(
        util.InheritBuildParameter("like", "Like"),
        codebases=[
            util.CodebaseParameter(
                "main",
                branch=util.ChoiceStringParameter("branch", "Branch of main", choices=["main", "stable"]),
                repository=util.FixedParameter("repository", default="https://git.example.org/x"),
                revision=None,
                project=None,
                patch=util.PatchParameter(),
            )
        ],
    )
    await form.field("Branch of main").select_option("stable")
    patch = FilePayload(name="fix.diff", mimeType="text/plain", buffer=b"--- a\n+++ b\n")
    await form.field("body").set_input_files(patch)
    await form.field("comment").fill("fix it")
    builds = await form.field("Like").locator("option").all_text_contents()
    newest = next(text for text in builds if text.startswith(f"{BUILDER}/"))
    await form.field("Like").select_option(newest)
    await form.send()
    assert (await form.taken())["like"] == newest
    rows = await (await page.request.get(f"{fresh.url}/api/v2/buildsets?order=-bsid&limit=1")).json()
    [stamp] = rows["buildsets"][0]["sourcestamps"]
    assert (stamp["codebase"], stamp["branch"]) == ("main", "stable")
    assert stamp["repository"] == "https://git.example.org/x"
    assert (stamp["patch"]["comment"], stamp["patch"]["level"]) == ("fix it", 1)


async def test_what_the_master_refuses_is_said_at_the_fields(
    form: Form, page: Page, faults: list[str]
) -> None:
    await form.open(
        util.IntParameter("jobs", "Jobs", default=1),
        util.StringParameter("version", "Version", regex="[0-9.]+$"),
        util.StringParameter("short", "Short", maxsize=3),
        util.NestedParameter(
            "tabs",
            "Tabs",
            layout="tabs",
            fields=[
                util.NestedParameter("one", "One", fields=[util.StringParameter("a", "In one")]),
                util.NestedParameter(
                    "two", "Two", fields=[util.StringParameter("must", "Must", required=True)]
                ),
            ],
        ),
    )
    await form.field("Your name:").fill("nobody")
    await form.field("Jobs").fill("many")
    await form.field("Version").fill("v1")
    await form.field("Short").fill("longer")
    await form.send()
    for label, why in {
        "Your name:": "'Your name:' has to be an email address",
        "Jobs": "'Jobs' has to be a whole number, not 'many'",
        "Version": "'Version' has to match [0-9.]+$",
        "Short": "'Short' is too long: at most 3 bytes",
        "Must": "'Must' needs to be specified",
    }.items():
        field = form.field(label)
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(field).to_have_accessible_description(re.compile(re.escape(why)))
        await expect(field).to_be_visible()  # also in a tab that wasn't open
    await expect(form.dialog.get_by_role("alert")).to_have_text("5 fields can't be taken as they are.")
    await expect(form.field("Your name:")).to_be_focused()
    await form.field("Your name:").fill("ann@example.org")
    await form.field("Jobs").fill("2")
    await expect(form.dialog.get_by_text("has to be a whole number")).to_have_count(0)
    await form.field("Version").fill("1")
    await form.field("Short").fill("abc")
    await form.field("Must").fill("be")
    await form.send()
    assert (await form.taken())["jobs"] == 2
    faults.clear()  # the browser notes the refusal


async def test_hints_come_before_anything_is_sent(form: Form, page: Page) -> None:
    await form.open(
        util.IntParameter("jobs", "Jobs", tooltip="As many as it has cores."),
        util.FileParameter("settings", "Settings", maxsize=4),
    )
    await expect(form.field("Jobs")).to_have_accessible_description("As many as it has cores.")
    await form.field("Jobs").fill("x")
    await form.field("reason").focus()
    await expect(form.dialog.get_by_text("This has to be a whole number.")).to_be_visible()
    large = FilePayload(name="large.txt", mimeType="text/plain", buffer=b"12345")
    await form.field("Settings").set_input_files(large)
    await expect(form.dialog.get_by_text("large.txt has 5 B, and 4 B at most are taken.")).to_be_visible()
    binary = FilePayload(name="x.bin", mimeType="text/plain", buffer=b"\xff\xfe")
    await form.field("Settings").set_input_files(binary)
    await expect(form.dialog.get_by_text("x.bin isn't a file of text in UTF-8.")).to_be_visible()


async def test_a_choice_fills_in_other_fields(form: Form, page: Page) -> None:
    await form.open(
        util.ChoiceStringParameter(
            "preset",
            "Preset",
            choices=["none", "fast"],
            autopopulate={"fast": {"options_jobs": 16, "clean": True, "none_such": 1}},
        ),
        util.NestedParameter("options", "", fields=[util.IntParameter("jobs", "Jobs", default=4)]),
        util.BooleanParameter("clean", "Clean"),
    )
    await form.field("Preset").select_option("fast")
    await expect(form.field("Jobs")).to_have_value("16")
    await expect(form.field("Clean")).to_be_checked()


async def test_a_refusal_of_the_whole_form_is_said_above_it(
    fresh: Server, form: Form, page: Page, faults: list[str]
) -> None:
    await form.open()
    await execute(fresh.store, "UPDATE schedulers SET enabled = 0 WHERE id = 3")
    await form.send()
    await expect(form.dialog.get_by_role("alert")).to_contain_text("is disabled")
    fresh.bus.publish([Hint("schedulers", 3, "update")])
    await expect(form.dialog).to_have_count(0)
    await expect(page.get_by_text("The scheduler force is switched off.")).to_be_visible()
    await expect(page.get_by_role("button", name="force", exact=True)).to_be_disabled()
    faults.clear()


async def test_who_may_not_ask_for_builds_is_told_so(fresh: Server, page: Page) -> None:
    fresh.snapshot = snapshot(
        authz=util.Authz(allowRules=[util.ForceBuildEndpointMatcher(role="builders")], roleMatchers=[]),
        auth=util.RemoteUserAuth(),
    )
    await page.goto(f"{fresh.url}/#/builders/1")
    button = page.get_by_role("button", name="force", exact=True)
    await expect(button).to_be_disabled()
    await expect(button).to_have_attribute("title", re.compile("builders"))


async def test_a_scheduler_that_is_not_there(fresh: Server, page: Page) -> None:
    await page.goto(f"{fresh.url}/#/builders/1/force/none")
    await expect(page.get_by_role("alert")).to_contain_text("No scheduler none can be asked")


async def test_markup_in_a_form_is_text(form: Form, page: Page, faults: list[str]) -> None:
    await form.open(
        util.StringParameter("a", SCRIPT, default=SCRIPT, tooltip=SCRIPT, required=True, regex="x"),
        util.ChoiceStringParameter("b", "B", choices=[SCRIPT], multiple=True, default=[SCRIPT]),
        label=SCRIPT,
        buttonName=SCRIPT,
    )
    await expect(form.dialog.get_by_role("heading")).to_have_text(f"{SCRIPT}: {BUILDER}")
    await form.dialog.get_by_role("button", name=SCRIPT).click()
    await expect(form.dialog.get_by_text(f"'{SCRIPT}' has to match x")).to_be_visible()
    assert await page.locator("img[src=x]").count() == 0
    assert await page.title() == BUILDER
    faults.clear()


async def test_tabs_by_keyboard(form: Form, page: Page) -> None:
    fields = [util.StringParameter(name, f"Field {name}", tablabel=f"Tab {name}") for name in "abc"]
    await form.open(util.NestedParameter("tabs", "Tabs", layout="tabs", fields=fields))
    await form.dialog.get_by_role("tab", name="Tab a").focus()
    await page.keyboard.press("ArrowLeft")
    await expect(form.dialog.get_by_role("tab", name="Tab c")).to_be_focused()
    await expect(form.field("Field c")).to_be_visible()
    await expect(form.field("Field a")).not_to_be_visible()


async def test_a_phone_fills_it_in_without_scrolling_sideways(form: Form, page: Page) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    await form.open(
        util.NestedParameter(
            "wide", "Wide", columns=4, fields=[util.StringParameter(name, name * 30) for name in "abcd"]
        ),
        util.ChoiceStringParameter("c", "C", choices=["long-" * 30]),
    )
    assert await form.dialog.evaluate("dialog => dialog.scrollWidth - dialog.clientWidth") <= 0
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


async def test_the_same_click_asks_once(fresh: Server, form: Form, page: Page) -> None:
    asked = []
    page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)
    await form.open()
    await form.field("reason").fill("once")
    await form.dialog.locator("form").evaluate("form => { form.requestSubmit(); form.requestSubmit(); }")
    await form.taken()
    assert len(asked) == 1
    assert json.loads(asked[0].post_data or "")["params"]["builderid"] == 1
