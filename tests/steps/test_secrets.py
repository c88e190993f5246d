"""P9: a build that tries to show a key of several lines shows it nowhere: not in what commands print in a
dozen ways, not in properties, URLs, state strings, errors, nor in any file of the master and the worker.
"""

import json
from pathlib import Path

import aiohttp

from buildwright.model.results import SUCCESS
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

WAYS = [
    'printf "%s" "$KEY"',
    'echo "$KEY" >&2',
    'echo $KEY; echo "$KEY" | tr -d "\\n"',
    'echo "$KEY" | while IFS= read -r line; do echo "> $line <"; sleep 0.01; done',
    'set -x; : "$KEY"; test x = "$KEY"; set +x',
    'printf "%q\\n" "$KEY"; echo "$KEY" | while IFS= read -r line; do printf "%q\\n" "$line"; done',
    "env; export -p; declare -p KEY",
    "python3 -c 'import os, json; k = os.environ[\"KEY\"]; print(json.dumps([k, k.splitlines()]))'",
    "python3 -c 'import os; k = os.environ[\"KEY\"]; print([k], k.splitlines(), k.encode())'",
    "python3 -c 'import os, urllib.parse as u; k = os.environ[\"KEY\"]; print(u.quote(k), u.quote_plus(k))'",
    "python3 -c 'import os, shlex; k = os.environ[\"KEY\"]; print(shlex.quote(k)); exit(k)' || true",
    'echo "$KEY" | sed "s/^/    /" | cat -E; echo "$KEY" > kept; sort kept; rm kept',
]

CONFIG = f"""
WAYS = {WAYS!r}
c["secretsProviders"] = [secrets.SecretInAFile("secrets")]

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
    Show(key), Fail(key, flunkOnFailure=False))
"""


async def test_a_key_of_several_lines_is_shown_nowhere(tmp_path: Path, sqlite_store_url: str) -> None:
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
            for path in ("?property=*", "/steps", "/properties"):
                async with http.get(base + path) as answer:
                    told += await answer.text()
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
