"""`buildwright token`: who may act."""

import json

from tests.cli.support import Master, failed, succeeded


def test_the_life_of_a_token(master: Master) -> None:
    assert "no tokens" in succeeded("token", "list", cwd=master.basedir).out
    succeeded("force", "green", "--url", master.url)  # as long as there is none
    made = succeeded("token", "create", "script", cwd=master.basedir)
    token = made.out.strip()
    assert token.startswith("bw_")
    assert "acting needs a token" in made.err
    refused = failed("force", "green", "--url", master.url)
    assert "acting needs an API token" in refused
    assert "BUILDWRIGHT_TOKEN" in refused
    assert "not known here" in failed("force", "green", "--url", master.url, "--token", "bw_wrong")
    succeeded("builds", "--url", master.url)  # reading needs none
    succeeded("force", "green", "--url", master.url, env={"BUILDWRIGHT_TOKEN": token})
    [build] = [
        each
        for each in succeeded(
            "force", "green", "-f", "--json", "--url", master.url, "--token", token
        ).out.splitlines()
        if each
    ]
    owner = succeeded("builds", "-n", "1", "--json", "--url", master.url).json[0]["properties"]["owner"][0]
    assert owner == "script"
    assert json.loads(build)["results"] == 0
    assert "there is a token 'script' already" in failed("token", "create", "script", cwd=master.basedir)
    succeeded("token", "create", "other", "--basedir", master.basedir, "--json")
    listed = succeeded("token", "list", "--json", cwd=master.basedir)
    assert [each["name"] for each in listed.json] == ["other", "script"]
    assert token not in listed.out
    assert "NAME" in succeeded("token", "list", cwd=master.basedir).out
    succeeded("token", "delete", "script", cwd=master.basedir)
    assert "not known here" in failed("force", "green", "--url", master.url, "--token", token)
    assert "did you mean 'other'?" in failed("token", "delete", "othr", cwd=master.basedir)
    assert "the last one" in succeeded("token", "delete", "other", cwd=master.basedir).err
    succeeded("force", "green", "--url", master.url)


def test_names_and_directories_that_are_none(resting: Master) -> None:
    assert "can't be a token's name" in failed("token", "create", " ", cwd=resting.basedir)
    assert "it has no master.cfg" in failed("token", "list", cwd=resting.basedir.parent)
    resting.configure("c = BuildmasterConfig = {'bulders': []}")
    assert "unknown key" in failed("token", "list", cwd=resting.basedir)


def test_a_token_can_be_made_before_the_first_start(resting: Master) -> None:
    token = succeeded("token", "create", "first", cwd=resting.basedir).out.strip()
    resting.start()
    assert "acting needs an API token" in failed("force", "green", "--url", resting.url)
    succeeded("force", "green", "--url", resting.url, "--token", token)
