"""What P4Source finds. Perforce's programs are in no package that the tests could install: a stand-in for p4
answers from a file, in the form that ``p4 -G`` is documented to have, written by Python's own marshal."""

import json
import marshal
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from buildwright.changes.base import PollError
from buildwright.changes.p4records import NoRecord, read_records
from buildwright.model.errors import ConfigErrors
from buildwright.model.render import Secret
from buildwright.plugins import changes
from buildwright.store import schema
from buildwright.store.base import Store
from tests.support.polling import Master, Polls, rows

STAND_IN = """#!{python}
import json, marshal, os, sys
depot = json.load(open({depot!r}))
words = sys.argv[1:]
with open({words!r}, "a") as file:
    file.write(" ".join(words) + "\\n")
def tell(**record):
    told = {{key.encode(): each if isinstance(each, int) else each.encode() for key, each in record.items()}}
    sys.stdout.buffer.write(marshal.dumps(told, 0))
def fail(why, severity=3):
    tell(code="error", data=why, severity=severity, generic=1)
    sys.exit(severity > 2)
if "login" in words:
    good = sys.stdin.readline() == depot["password"] + "\\n"
    print("Enter password: \\n" + depot["ticket"]) if good else sys.exit("Password invalid.")
    sys.exit(0)
if "down" in depot:
    sys.exit("Perforce client error:\\n\\tConnect to server failed; check $P4PORT.")
if os.environ.get("P4PASSWD") != depot.get("accepts"):
    fail("Perforce password (P4PASSWD) invalid or unset.\\n")
words = words[words.index("-G") + 1:]
if words[0] == "changes":
    pattern, _, after = words[-1].partition("@")
    begin = int(after.partition(",")[0]) if after else 0
    most = int(words[words.index("-m") + 1]) if "-m" in words else len(depot["changes"])
    below = pattern.removesuffix("...")
    found = [each for each in reversed(depot["changes"])
             if int(each["change"]) >= begin and any(path.startswith(below) for path in each["files"])]
    for each in found[:most]:
        tell(code="stat", change=each["change"], time=each["time"], user=each["user"], desc=each["desc"][:31])
    if not found:
        fail(pattern + " - no such file(s).", severity=2)
for number in words[2:] if words[0] == "describe" else []:
    [each] = [each for each in depot["changes"] if each["change"] == number]
    files = {{f"depotFile{{i}}": path for i, path in enumerate(each["files"])}}
    told = {{name: each[name] for name in ("change", "user", "time", "desc")}}
    tell(code="stat", client="c", **told, **files)
"""


class Server:
    """The stand-in and what it knows."""

    def __init__(self, path: Path) -> None:
        self.depot = path / "depot.json"
        self.words = path / "words"
        self.words.touch()
        self.p4 = path / "p4"
        text = STAND_IN.format(python=sys.executable, depot=str(self.depot), words=str(self.words))
        self.p4.write_text(text)
        self.p4.chmod(self.p4.stat().st_mode | stat.S_IXUSR)
        self.knows: dict[str, Any] = {"changes": []}
        self.write()

    def write(self, **more: Any) -> None:
        self.knows |= more
        self.depot.write_text(json.dumps(self.knows))

    def submit(self, *files: str, desc: str = "more\n", user: str = "ann") -> str:
        number = len(self.knows["changes"]) + 1
        change = {"change": str(number), "user": user, "desc": desc, "time": str(1_700_000_000 + number)}
        self.knows["changes"].append({**change, "files": list(files)})
        self.write()
        return str(number)

    def source(self, **more: Any) -> Any:
        return changes.P4Source(
            **{"p4port": "perforce:1666", "p4base": "//depot/project/", "p4bin": str(self.p4), **more}
        )

    def asked(self) -> list[str]:
        lines = self.words.read_text().splitlines()
        self.words.write_text("")
        return lines


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def by_branch(path: str) -> Any:
    return path.split("/", 1) if "/" in path else None


async def test_the_first_poll_records_and_the_next_finds(server: Server, tmp_path: Path) -> None:
    server.submit("//depot/project/old")
    source = server.source(
        project="p",
        p4user="ci",
        resolvewho=lambda who: f"{who}@example.org",
        revlink=lambda branch, revision: f"https://x/{branch}/{revision}",
    )
    assert source.name == "P4Source:perforce:1666://depot/project/"
    look = Polls(source, tmp_path)
    assert not (await look()).changes
    assert not (await look()).changes
    begin = "-p perforce:1666 -u ci -G changes -s submitted"
    assert server.asked() == [
        f"{begin} -m 1 //depot/project/...",
        f"{begin} //depot/project/...@2,#head",
    ]
    server.submit("//depot/other/x")
    one = server.submit("//depot/project/a b", "//depot/other/y", desc="subject\n\n... desc ü\n")
    two = server.submit("//depot/project/c", user="bob")
    found = await look()
    assert [change.revision for change in found.changes] == [one, two]
    change = found.changes[0]
    assert (change.author, change.comments) == ("ann@example.org", "subject\n\n... desc ü")
    assert (change.files, change.branch, change.project) == (("a b",), None, "p")
    assert change.revlink == f"https://x/None/{one}"
    assert change.when_us == (1_700_000_000 + int(one)) * 1_000_000
    assert server.asked()[1] == f"-p perforce:1666 -u ci -G describe -s {one} {two}"
    assert not (await look()).changes


async def test_branches(server: Server, tmp_path: Path) -> None:
    look = Polls(server.source(split_file=by_branch, p4base="//depot/project"), tmp_path)
    await look()
    server.submit(
        "//depot/project/main/a", "//depot/project/side/a", "//depot/project/main/b", "//depot/project/x"
    )
    server.submit("//depot/project/x")
    found = (await look()).changes
    assert [(change.branch, change.files) for change in found] == [("main", ("a", "b")), ("side", ("a",))]
    assert len({change.identity for change in found}) == 2


async def test_another_place_begins_anew_and_many_are_described_at_a_time(
    server: Server, tmp_path: Path
) -> None:
    look = Polls(server.source(name="p"), tmp_path)
    await look()
    made = [server.submit("//depot/project/a") for _ in range(60)]
    assert [change.revision for change in (await look()).changes] == made
    assert sum("describe" in line for line in server.asked()) == 2
    look.poller = server.source(name="p", p4base="//depot/")
    assert not (await look()).changes
    server.submit("//depot/x")
    assert len((await look()).changes) == 1


async def test_histmax_leaves_older_ones_out_and_says_so(server: Server, tmp_path: Path) -> None:
    look = Polls(server.source(histmax=2), tmp_path)
    await look()
    made = [server.submit("//depot/project/a") for _ in range(3)]
    found = await look()
    assert [change.revision for change in found.changes] == made[1:]
    assert "older ones are left out (histmax)" in found.notice
    assert not (await look()).notice


async def test_passwords_and_tickets(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def secret(name: str) -> str:
        return {"perforce": "swordfish"}[name]

    server.write(accepts="swordfish")
    look = Polls(server.source(p4passwd=Secret("perforce")), tmp_path)
    await look(secret_source=secret)
    server.write(accepts="changed")
    with pytest.raises(PollError, match=r"p4 changes failed: Perforce password \(P4PASSWD\) invalid"):
        await look(secret_source=secret)
    server.write(accepts="AB" * 16, ticket="AB" * 16, password="swordfish")
    server.asked()
    look = Polls(server.source(p4passwd=Secret("perforce"), use_tickets=True), tmp_path)
    await look(secret_source=secret)
    await look(secret_source=secret)
    assert [line.partition("1666 ")[2][:8] for line in server.asked()] == ["login -p", "-G chang", "-G chang"]
    later = time.monotonic() + 90_000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await look(secret_source=secret)
    assert server.asked()[0].endswith("login -p")
    server.write(accepts="CD" * 16)
    with pytest.raises(PollError, match="invalid or unset"):
        await look(secret_source=secret)
    server.write(ticket="CD" * 16)
    await look(secret_source=secret)
    server.write(password="other")
    with pytest.raises(PollError, match=r"p4 login failed: Password invalid\."):
        await Polls(server.source(p4passwd="swordfish", use_tickets=True), tmp_path)()


async def test_failures_are_told(server: Server, tmp_path: Path) -> None:
    server.write(down=1)
    with pytest.raises(
        PollError, match=r"p4 changes failed: Perforce client error: Connect to server failed"
    ):
        await Polls(server.source(), tmp_path)()
    with pytest.raises(PollError, match=r"can't be run: No such file or directory\. Install it or set p4bin"):
        await Polls(server.source(p4bin="/nowhere/p4"), tmp_path)()
    with pytest.raises(PollError, match="p4 changes said"):
        await Polls(server.source(p4bin="/bin/echo"), tmp_path)()
    del server.knows["down"]
    server.write()
    for wrong, message in {
        "split_file": r"split_file must give \(branch, path\), not 5",
        "resolvewho": "the function resolvewho must give text, not 5",
        "revlink": "the function revlink must give text, not 5",
    }.items():
        look = Polls(server.source(**{wrong: lambda *_: 5}), tmp_path)
        await look()
        server.submit("//depot/project/a")
        with pytest.raises(PollError, match=message):
            await look()


async def test_changes_come_into_the_store_once(store: Store, server: Server, tmp_path: Path) -> None:
    """P1: what a poll found and what it remembers are one."""
    master = await Master(store, tmp_path).start(server.source(pollInterval=60, pollAtLaunch=True))
    made = [server.submit("//depot/project/a") for _ in range(2)]
    for _ in range(2):
        await master.pass_time(60)
        assert [each["revision"] for each in await rows(store, schema.changes)] == made
    await master.sources.stop()


def test_records_are_what_marshal_writes() -> None:
    made: list[dict[bytes, Any]] = [{b"code": b"stat", b"x": -5}, {}, {b"d": b"0{s\0"}]
    data = b"".join(marshal.dumps(each, 0) for each in made)
    expected = [{key.decode(): value for key, value in each.items()} for each in made]
    assert read_records(data) == expected
    for wrong in (b"x", data[:-1], b"{i\1\0\0\0s\0\0\0\0000", b"{s\xff\xff\xff\xff0", b"{s\1\0\0\0"):
        with pytest.raises(NoRecord):
            read_records(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p4base": "depot"}, "p4base must begin with //"),
        ({"histmax": 0}, "histmax must be 1 or more"),
        ({"use_tickets": True}, "use_tickets needs a p4passwd"),
        ({"encoding": "none"}, "there is no encoding 'none'"),
        ({"split_file": "main"}, "split_file must be a function"),
        ({"p4port": 1666}, "p4port must be text"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        changes.P4Source(**arguments)
