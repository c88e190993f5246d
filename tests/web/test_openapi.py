"""The description of the data API in OpenAPI, and the data API against it: whatever a stranger sends, the
answer is one of those that are described, and never a defect.
"""

import asyncio
import subprocess
import sys

import aiohttp

from buildwright.web.data import TABLE
from buildwright.web.methods import methods_of
from tests.support.webserver import Server

# One path of each kind; the others lead to the same things by other names.
OF_EACH_KIND = r"^/[a-z_.]+(/\{[a-z]+id\})?$|^/logs/\{logid\}/|^/builds/\{buildid\}/[a-z_]+$"
CHECKS = "content_type_conformance,response_schema_conformance,status_code_conformance"
EXAMPLES = 6


async def test_it_describes_every_path_and_method(server: Server, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/api/openapi.json") as response:
        told = await response.json()
    assert len(told["paths"]) == len(list(TABLE))
    methods = {
        method
        for item in told["paths"].values()
        if "post" in item
        for method in item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"][
            "method"
        ]["enum"]
    }
    assert methods == {method for _, target in TABLE for method in methods_of(target)}
    build = told["components"]["schemas"]["build"]["properties"]
    assert build["results"] == {"type": ["integer", "null"]}
    assert build["state_string"] == {"type": "string"}


async def test_whatever_is_sent_the_answer_is_described(server: Server) -> None:
    program = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/api/openapi.json"]
    program += ["--url", f"{server.url}/api/v2", "--phases", "fuzzing", "--checks", CHECKS]
    program += [
        "--max-examples",
        str(EXAMPLES),
        "--include-path-regex",
        OF_EACH_KIND,
        "--continue-on-failure",
    ]
    process = await asyncio.create_subprocess_exec(
        *program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=str(server.directory)
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
