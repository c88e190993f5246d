"""P9: a build that tries to show a key of several lines shows it nowhere: not in what commands print in many
ways, not in properties, URLs, names, state strings, data, results of tests, errors, what it triggers, what
master and worker log, nor in any file of theirs.
"""

import json
import shlex
from pathlib import Path

import aiohttp
import pytest
import sqlalchemy as sa

from buildwright.model.results import SUCCESS
from buildwright.store import schema
from tests.support.rig import rig

LINES = [
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz+c/h=",
    'it\'s "quoted" with $dollars, `ticks` and back\\slashes\there',
    "QyNTUxOQAAACBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==",
    "-----END OPENSSH PRIVATE KEY-----",
]
KEY = "\n".join(LINES) + "\n"
SHOWN = ["QyNTUxOQAAACBzZWNyZXQ", "b3BlbnNzaC1rZXktdjEA", "dollars, "]
"""Parts that nothing but the key has. What a shell or JSON escapes is not in them."""

IN_PIECES = """
import os, time
key = os.environb[b"KEY"]
for at in range(0, len(key), 7):
    os.write(1, key[at : at + 7])
    time.sleep(0.002)
"""


def python(modules: str, printed: str) -> str:
    """A command that prints something of the key ``k``."""
    return "python3 -c " + shlex.quote(f"import os, {modules}; k = os.environ['KEY']; print({printed})")


WAYS = [
    'printf "%s" "$KEY"',
    'echo "$KEY" >&2',
    'echo $KEY; echo "$KEY" | tr -d "\\n"',
    'echo "$KEY" | while IFS= read -r line; do echo "> $line <"; sleep 0.01; done',
    'set -x; : "$KEY"; test x = "$KEY"; set +x',
    'printf "%q\\n" "$KEY"; echo "$KEY" | while IFS= read -r line; do printf "%q\\n" "$line"; done',
    "env; export -p; declare -p KEY",
    python("json", "json.dumps([k, k.splitlines()]), json.dumps([k + '<&>'])"),
    python("json", "[k], k.splitlines(), k.encode()"),
    python("urllib.parse as u", "u.quote(k), u.quote_plus(k), *map(u.quote, k.splitlines())"),
    python("shlex", "shlex.quote(k)") + "; python3 -c \"exit(__import__('os').environ['KEY'])\" || true",
    python("html", "html.escape(k), html.escape(k, quote=False)"),
    python("xml.sax.saxutils as x", "x.escape(k), x.quoteattr(k)"),
    python("csv, sys", "csv.writer(sys.stdout).writerow([k, 1])"),
    python("pprint", "pprint.pformat({1: k}, width=100)"),
    'echo "$KEY" | sed "s/^/    /" | cat -E; echo "$KEY" > kept; sort kept; rm kept',
    "python3 -c " + shlex.quote(IN_PIECES),
    'diff <(echo "$KEY") <(echo other) || true; echo "$KEY" | nl; echo "$KEY" | tac',
]

CONFIG = f"""
import html
WAYS = {WAYS!r}
c["secretsProviders"] = [secrets.SecretInAFile("secrets")]

def as_it_is(value):
    return value

def fails(value):
    raise ValueError("no good: " + value)

class Show(steps.BuildStep):
    name = "show"
    renderables = ["key"]

    def __init__(self, key, **kwargs):
        super().__init__(**kwargs)
        self.key = key

    async def run(self):
        log = await self.addLog("own")
        await log.addStdout(self.key)
        for line in self.key.splitlines():
            await log.addStdout(line + "\\n")
        self.setProperty("key", self.key)
        self.setProperty("nested", {{"lines": self.key.splitlines()}})
        await self.addURL("key " + self.key, "https://example.org/?key=" + self.key)
        await self.addHTMLLog("page", "<pre>" + html.escape(self.key) + "</pre>")
        await self.addCompleteLog("log of " + self.key, self.key)
        await self.setBuildData("data", self.key.encode(), "of " + self.key)
        results = await self.addTestResultSet("of " + self.key, "pass_fail", "boolean")
        self.addTestResult(results, "0", test_name="a" + self.key, test_code_path=self.key, message=self.key)
        self.setStatistic("key", self.key)
        assert self.key == await self.once("known", as_it_is, self.key)
        self.descriptionDone = [self.key]
        return util.SUCCESS

class Fail(Show):
    name = "fail"

    async def run(self):
        raise ValueError(self.key)

key = util.Secret("key")
shell = [
    steps.ShellCommand(name=f"way{{at}}", command=["bash", "-c", way], env={{"KEY": key}})
    for at, way in enumerate(WAYS)
]
builder("b", *shell,
    steps.ShellCommand(name="argument", command=["echo", key]),
    steps.SetPropertyFromCommand(command="echo \\"$KEY\\"", property="from_command", env={{"KEY": key}}),
    steps.ShellCommand(name=util.Interpolate("called %(secret:key)s"), command="true"),
    steps.Trigger(schedulerNames=["run-child"], waitForFinish=True, set_properties={{"given": key}}),
    Show(key), Fail(key, flunkOnFailure=False),
    steps.ShellCommand(name="unrendered", command=util.Transform(fails, key), alwaysRun=True))
builder("child", steps.ShellCommand(command=["echo", util.Property("given")]))
"""


async def test_a_key_of_several_lines_is_shown_nowhere(
    tmp_path: Path, sqlite_store_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = tmp_path / "master" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "key").write_text(KEY)
    (secrets / "key").chmod(0o600)
    async with rig(tmp_path, sqlite_store_url, CONFIG) as it:
        built = await it.build("b")
        for at in range(len(WAYS)):
            step = built.step(f"way{at}")
            assert step.results == SUCCESS, built
            assert b"<key>" in b"".join(step.logs["stdio"].streams.values()), (WAYS[at], built)
        told = str(built) + json.dumps(built.properties) + repr([step.urls for step in built.steps])
        base = f"http://127.0.0.1:{it.port}/api/v2/builds/{built.id}"
        async with aiohttp.ClientSession() as http:
            for path in (
                "?property=*",
                "/steps",
                "/properties",
                "/data",
                "/test_result_sets",
                "/triggered_builds",
            ):
                async with http.get(base + path) as answer:
                    told += await answer.text()
        assert "no good: <key>" in built.log("unrendered", "err.text").text
        told += "".join(capfd.readouterr())  # what master and worker have logged
        for part in SHOWN:
            assert part not in told, part
        assert built.properties["key"] == "<key>"
        kept = files_of(tmp_path, but=secrets)  # database, write-ahead log, sealed logs, ledger, spool
        assert tmp_path / "state.sqlite" in kept
        for file, content in kept.items():
            for part in SHOWN:
                assert part.encode() not in content, file


def files_of(directory: Path, *, but: Path) -> dict[Path, bytes]:
    found = [path for path in directory.rglob("*") if path.is_file() and path.parent != but]
    return {path: path.read_bytes() for path in found}


GOES_ON = """
c["secretsProviders"] = [secrets.SecretInAFile("secrets")]

def lines_of(key):
    return {"lines": key.splitlines(), "whole": "<" + key + ">"}

class Work(steps.ShellMixin, steps.BuildStep):
    renderables = ["key"]

    def __init__(self, key, **kwargs):
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))
        self.key = key

    async def run(self):
        known = await self.once("lines", lines_of, self.key)
        held = await self.makeRemoteShellCommand(command="until [ -e ../go ]; do sleep 0.02; done; echo held")
        await self.runCommand(held)
        again = known == lines_of(self.key)
        return util.SUCCESS if again else util.FAILURE

builder("b", Work(util.Secret("key"), name="work"))
"""


async def test_p9_what_work_on_the_master_gave_is_gone_on_with_and_not_stored(
    tmp_path: Path, sqlite_store_url: str
) -> None:
    """The journal has the secret's name; who takes the build over has its value."""
    secrets = tmp_path / "master" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "key").write_text("correct horse battery staple\n")
    (secrets / "key").chmod(0o600)
    async with rig(tmp_path, sqlite_store_url, GOES_ON) as it:
        request = await it.submit()
        await it.started(request)
        journal = sa.select(schema.journal.c.kind)

        async def waits() -> bool:
            return [kind for (kind,) in await it.store.fetch(journal)] == ["once", "command"]

        await it.until("steps", waits)
        for file, content in files_of(tmp_path, but=secrets).items():
            assert b"battery" not in content, file
        await it.restart()
        (it.builddir() / "go").touch()
        built = await it.finished(request)
        assert built.results == SUCCESS, built
        assert len(await it.builds(request)) == 1
