"""`buildwright cleanup`: what is beyond the rule goes, beside a running master."""

from tests.cli.support import CONFIG, Master, buildwright, failed, succeeded

RULE = """
c["retention"] = util.Retention(max_builds=1, keep=0, keep_good=False, builders={"colours": util.Retention()})
"""


def test_what_would_go_is_told_and_goes(master: Master) -> None:
    for builder in ("green", "green", "green", "colours"):
        buildwright("force", builder, "--follow", "--url", master.url)
    untouched = succeeded("cleanup", "--dry-run", cwd=master.basedir)
    assert (
        "What is kept: logs for 365 days; build data, builds, changes and the audit for ever; "
        in untouched.out
    )
    assert "There is nothing else, so nothing to remove." in untouched.out
    master.configure(CONFIG + RULE)  # the running master doesn't know
    told = succeeded("cleanup", master.basedir, "--dry-run", "--json").json
    assert told["dry_run"]
    assert list(told["gone"]) == ["green"]
    assert (told["gone"]["green"]["builds"], told["gone"]["green"]["logs"]) == (2, 4)
    shown = succeeded("cleanup", "--dry-run", cwd=master.basedir)
    assert "This would be removed:" in shown.out
    assert "Nothing was removed" in shown.out
    assert len(succeeded("builds", "--json", "--url", master.url).json) == 4
    done = succeeded("cleanup", cwd=master.basedir)
    assert "This was removed:" in done.out
    assert "green" in done.out
    left = succeeded("builds", "--json", "--url", master.url).json
    assert sorted(each["number"] for each in left) == [1, 3]
    assert "There is nothing else, so nothing to remove." in succeeded("cleanup", cwd=master.basedir).out


def test_no_masters_directory(resting: Master) -> None:
    assert "it has no master.cfg" in failed("cleanup", resting.basedir.parent)
