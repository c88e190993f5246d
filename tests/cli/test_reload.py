"""`buildwright reload`: the outcome of a load that began after the asking."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cli.support import CONFIG, Master, buildwright, eventually, failed, succeeded


def test_a_new_configuration_is_taken_over(master: Master) -> None:
    master.configure(CONFIG.replace("unforced", "renamed") + 'c["caches"] = {"Changes": 1}\n')
    done = succeeded("reload", master.basedir)
    assert done.out == (
        "The master runs the new configuration: 7 builders, 1 worker, 3 schedulers, 0 change sources.\n"
    )
    assert "warning: c['caches']" in done.err
    assert "renamed" in failed("force", "renamed", "--basedir", master.basedir)
    assert succeeded("reload", master.basedir, "--json").json["builders"] == 7


def test_errors_are_shown_and_the_running_one_stays(master: Master) -> None:
    master.configure(CONFIG + 'c["bulders"] = []\nc["title"] = 5\n')
    done = buildwright("reload", master.basedir)
    assert done.code == 1
    assert "error: unknown key c['bulders']" in done.err
    assert "did you mean 'builders'?" in done.err
    assert "c['title'] must be text" in done.err
    assert "goes on with the configuration that it had" in done.err
    found = buildwright("reload", master.basedir, "--json")
    assert found.code == 1
    assert [each["message"][:12] for each in found.json["errors"]] == ["unknown key ", "c['title'] m"]
    assert "all is well" in succeeded("force", "green", "--follow", "--basedir", master.basedir).out


def test_what_a_reload_cannot_change_is_said(master: Master) -> None:
    master.configure(CONFIG + 'c["db_url"] = "sqlite:///other.sqlite"\n')
    done = buildwright("reload", master.basedir)
    assert done.code == 1
    assert "the database can't be changed by a reload" in done.err


def test_many_who_ask_at_once_all_get_their_answer(master: Master) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: buildwright("reload", master.basedir), range(8)))
    assert [answer.code for answer in answers] == [0] * 8


def test_a_master_that_starts_is_waited_for(resting: Master, tmp_path: Path) -> None:
    mark = tmp_path / "loading"
    slow = f"import time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(1)\n"
    resting.configure(slow + CONFIG)
    resting.spawn()
    eventually(mark.exists, "the configuration is being loaded")
    resting.configure(CONFIG.replace("unforced", "renamed"))
    succeeded("reload", resting.basedir)
    assert "force scheduler starts" in failed("force", "renamed", "--basedir", resting.basedir)


def test_no_master_runs(resting: Master) -> None:
    assert "no master runs" in failed("reload", resting.basedir)
