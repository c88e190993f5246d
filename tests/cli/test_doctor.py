"""`buildwright doctor`: what is wrong is found, and what to do is said."""

import json
import socket
import sqlite3
from pathlib import Path
from typing import Any

from tests.cli.support import CONFIG, LEAST, Master, buildwright, eventually, failed, succeeded


def findings(master: Master, *, code: int = 0) -> dict[str, list[dict[str, str]]]:
    """What is found, by what it is of."""
    done = buildwright("doctor", "--json", cwd=master.basedir)
    assert done.code == code, done.out + done.err
    by: dict[str, list[dict[str, str]]] = {}
    for each in done.json["findings"]:
        assert each["level"] == "ok" or each["do"], each
        by.setdefault(each["of"], []).append(each)
    return by


def texts(found: list[dict[str, str]], level: str) -> str:
    return "\n".join(each["text"] for each in found if each["level"] == level)


def change(master: Master, *statements: str) -> None:
    connection = sqlite3.connect(master.basedir / "state.sqlite", isolation_level=None, timeout=30)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


def test_a_healthy_master(shared: Master) -> None:
    def well() -> Any:
        done = buildwright("doctor", cwd=shared.basedir)
        assert done.code == 0, done.out
        return "the only one is connected" in done.out and done.out

    out = eventually(well, "the local worker is connected")
    assert "No problems, " in out
    for said in ("it loads: 7 builders, 1 worker", "is running at http", "are intact", "has schema"):
        assert said in out


def test_what_is_wrong_beside_a_running_master(master: Master) -> None:
    master.configure(CONFIG + 'c["workers"].append(worker.Worker("far-away", "password"))\n')
    now = 1_000_000 * 4_000_000_000  # the year 2096
    change(
        master,
        "UPDATE workers SET paused = 1, pause_reason = 'for repairs' WHERE name = 'local'",
        "INSERT INTO builders (name) VALUES ('gone')",
        "INSERT INTO buildsets (id, submitted_at) VALUES (900, 5)",
        "INSERT INTO buildrequests (id, buildsetid, builderid, submitted_at)"
        " SELECT 900, 900, id, 5 FROM builders WHERE name = 'gone'",
        f"INSERT INTO masters (name, last_active) VALUES ('other', {now})",
        "INSERT INTO sealed_logs (logid, blob, size, frames) VALUES (900, '0/900', 5, '')",
    )
    (master.basedir / "logs").mkdir(exist_ok=True)
    (master.basedir / "state.sqlite").chmod(0o644)
    found = findings(master, code=1)
    assert "local is paused: for repairs" in texts(found["workers"], "warning")
    assert "not connected: far-away" in texts(found["workers"], "warning")
    assert "1 of gone waits" in texts(found["requests"], "problem")
    assert "they can never run" in texts(found["requests"], "problem")
    assert "ahead of this machine's clock" in texts(found["clock"], "problem")
    assert "lost their file" in texts(found["logs"], "problem")
    assert "everybody may read" in texts(found["database"], "warning")


def test_what_is_wrong_before_a_start(resting: Master) -> None:
    with socket.create_server(("127.0.0.1", resting.port)):
        found = findings(resting, code=1)
    assert f"port {resting.port} of c['www'] can't be listened on" in texts(found["ports"], "problem")
    assert "the first start makes them" in texts(found["database"], "ok")
    assert not (resting.basedir / "state.sqlite").exists()
    assert "is free" in texts(findings(resting)["ports"], "ok")


def test_a_database_that_is_damaged_or_of_another_version(resting: Master) -> None:
    resting.configure(LEAST)
    succeeded("upgrade-db", cwd=resting.basedir)
    path = resting.basedir / "state.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * 8192 + whole[16384:])
    assert "damaged" in str(findings(resting, code=1)["database"])
    path.write_bytes(whole)
    change(resting, "UPDATE buildwright_version SET version_num = '9999'")
    found = texts(findings(resting, code=1)["database"], "problem")
    assert "newer" in found


def test_a_configuration_with_errors_is_told_with_the_rest(resting: Master) -> None:
    resting.configure("c = BuildmasterConfig = {'bulders': []}")
    found = findings(resting, code=1)
    assert "unknown key c['bulders']" in texts(found["configuration"], "problem")
    assert texts(found["program"], "ok")


def test_an_object_store_that_cant_be_reached(resting: Master, tmp_path: Path) -> None:
    resting.configure(LEAST + f"c['logStore'] = {json.dumps('file://' + str(tmp_path / 'absent' / 'x'))}\n")
    succeeded("upgrade-db", cwd=resting.basedir)
    (tmp_path / "absent").write_text("a file")
    assert "can't be used" in texts(findings(resting, code=1)["logs"], "problem")


def test_no_directory(tmp_path: Path) -> None:
    assert "there is no directory" in failed("doctor", tmp_path / "absent")


def test_a_postgresql_database(resting: Master, postgres_store_url: str) -> None:
    resting.configure(f"{CONFIG}c['db_url'] = {postgres_store_url!r}\n")
    found = findings(resting)
    assert "has schema" in texts(found["database"], "ok")
    assert "none waits" in texts(found["requests"], "ok")
    resting.configure(f"{CONFIG}c['db_url'] = 'postgresql://127.0.0.1:1/ci'\n")
    assert "can't be reached" in texts(findings(resting, code=1)["database"], "problem")
