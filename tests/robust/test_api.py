"""Calls of the data API that make no sense: answered with a JSON error that says why; nothing changes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from tests.robust.support import done, force, no_traceback, ready, started
from tests.support.processes import eventually, farm

READS = {  # path: (status, a part of the error)
    "nothing": (404, ""),
    "builds/nothing": (404, ""),
    "builds/999": (404, ""),
    "logs/999/raw": (404, ""),
    "builds?field=colour": (400, "colour"),
    "builds?colour=red": (400, "colour"),
    "builds?number__near=3": (400, "near"),
    "builds?number=three": (400, "three"),
    "builds?limit=-1": (400, "limit"),
    "builds?limit=many": (400, "limit"),
    "builds?offset=99999999999999999999": (400, "offset"),
    "builds?order=colour": (400, "colour"),
    "builds?state_string=%00": (400, "NUL"),
    "buildrequests?priority__lt=1e400": (400, "priority"),
}

CALLS: list[tuple[str, Any, int, str]] = [  # path, body, status, a part of the error
    ("forceschedulers/force-b", {"method": "fly", "params": {}}, 501, "fly"),
    ("forceschedulers/none", {"method": "force", "params": {}}, 404, ""),
    ("forceschedulers/force-b", {"method": "force", "params": {"builderNames": ["none"]}}, 400, "none"),
    ("forceschedulers/force-b", {"method": "force", "params": ["b"]}, 400, "params"),
    ("forceschedulers/force-b", {"method": 7, "params": {}}, 400, "method"),
    ("forceschedulers/force-b", {"params": {}}, 400, "method"),
    ("forceschedulers/force-b", {"method": "force"}, 400, "params"),
    ("builds/999", {"method": "stop", "params": {}}, 404, ""),
    ("builds", {"method": "stop", "params": {}}, 501, "stop"),
    ("buildrequests/1", {"method": "set_priority", "params": {"priority": "high"}}, 400, "priority"),
    ("forceschedulers/force-b", b"{", 400, ""),
    ("forceschedulers/force-b", b"\xff\xfe", 400, ""),
    ("forceschedulers/force-b", b"[1, 2]", 400, ""),
    ("forceschedulers/force-b", b'{"a": ' * 5000, 400, ""),
    ("forceschedulers/force-b", b"x" * (9 * 1024 * 1024), 413, "larger"),
]


async def test_calls_that_make_no_sense(tmp_path: Path, db_url: str) -> None:
    async with farm(tmp_path) as made:
        await ready(made, f"c['db_url'] = {db_url!r}\nbuilder('b', job('long', 3))\n", "w")
        await force(made, "b")
        await eventually(lambda: started(made, "long"), "the command runs")
        session, base = made.api._session, f"{made.api.base}/api/v2"
        wrong: list[tuple[Any, ...]] = []
        for path, (status, text) in READS.items():
            async with session.get(f"{base}/{path}") as answer:
                body = await answer.text()
                if answer.status != status or text not in json.loads(body)["error"]:
                    wrong.append((path, answer.status, body))
        for path, content, status, text in CALLS:
            call = content if isinstance(content, bytes) else {"jsonrpc": "2.0", "id": 1, **content}
            data = call if isinstance(call, bytes) else json.dumps(call).encode()
            headers = {"Content-Type": "application/json"}
            async with session.post(f"{base}/{path}", data=io.BytesIO(data), headers=headers) as answer:
                body = await answer.text()
                if answer.status != status or text not in str(json.loads(body)["error"]):
                    wrong.append((path, answer.status, str(data)[:80], body))
        for method in ("PUT", "DELETE", "PATCH"):
            async with session.request(method, f"{base}/builds") as answer:
                body = await answer.text()
                if answer.status != 400 or method not in json.loads(body)["error"]:
                    wrong.append((method, answer.status, body))
        assert not wrong, "\n".join(map(str, wrong))
        (build,) = await done(made)
        assert build["results"] == 0
        await made.check_job(build["buildid"], "job", "long")
        no_traceback(made)
