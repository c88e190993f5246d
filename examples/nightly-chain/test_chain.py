"""The nightly chain, played: `pytest examples/nightly-chain`."""

from collections import Counter
from datetime import timedelta

import pytest

MINUTES = {"debugbuild": 40, "releasebuild": 35, "asanbuild": 50, "benchmarkkube": 90}
THE_NIGHT = {
    "nightly-rebuild": ["debugbuild"],
    "nightly-release-asan": ["asanbuild", "releasebuild"],
    "nightly-flatpak": ["kolabnowflatpak", "nightlyflatpak"],
    "nightly-osx": ["kolabnowosxbuild", "osxbuild"],
    "nightly-benchmark": ["benchmarkkube"],
}


@pytest.fixture
def available(monkeypatch):
    """Says what CheckAvailability finds: ``available(ci, (200, 3600), ...)``, each a status and an age in
    seconds, the last one for ever.
    """

    def answer(ci, *answers):
        step = ci.snapshot.builders["osxbuild"].factory.steps[-1].cls
        left = list(answers)
        asked = []

        def look(url):
            asked.append(url)
            status, age = left.pop(0) if len(left) > 1 else left[0]
            return status, ci.now.timestamp() - age

        monkeypatch.setattr(step, "look", staticmethod(look))
        return asked

    return answer


def night_of(chain, available, **options):
    """A rehearsal whose builds take as long as they do."""
    ci = chain(**options)
    available(ci, (200, 60))
    for builder, minutes in MINUTES.items():
        ci.on("docker run *", builder=builder).takes(timedelta(minutes=minutes / 10))
    ci.on("craft.py --package *").takes(600).writes("kube.dmg", "a disk image").writes(
        "kolabnow.dmg", "another"
    )
    ci.on("craft -i kube").writes("kube.exe", "a program")
    ci.on("~/flatpak/rebuild.sh *").takes(900)
    return ci


def test_a_night(chain, available):
    ci = night_of(chain, available, at="2026-03-02 22:00")
    builds = ci.until("2026-03-03 09:00")
    assert {build.result for build in builds} == {"success"}
    by_scheduler = {
        name: sorted(each.builder for each in builds if each.scheduler == name) for name in THE_NIGHT
    }
    assert by_scheduler == THE_NIGHT
    debug = builds[0]
    assert f"{debug.started:%H:%M}" == "02:00"
    assert [stamp["codebase"] for stamp in debug.stamps] == ["kasync", "kdav2", "kimap2", "kube", "sink"]
    for build in builds[1:]:
        if build.scheduler != "nightly-benchmark":
            assert build.started_us >= debug.complete_us
            assert build.stamps == debug.stamps


def test_benchmarks_have_their_machine_to_themselves(chain, available):
    """Asked for at three, they wait for what runs, and what comes meanwhile waits for them."""
    ci = night_of(chain, available, at="2026-03-03 01:00")
    ci.until("2026-03-03 10:00")
    [benchmark] = ci.builds("benchmarkkube")
    assert benchmark.started.hour >= 3
    for build in ci.builds():
        if build.worker == "local1" and build is not benchmark and build.builder != "benchmarkkube":
            together = build.started_us < benchmark.complete_us and benchmark.started_us < build.complete_us
            assert not together, f"{build.builder} runs beside the benchmarks"
    run = [ran.step for ran in ci.ran if ran.builder == "benchmarkkube" and "benchmark" in ran.step]
    assert (len(run), Counter(run).most_common(1)[0][1]) == (7, 1)
    assert b'"results": "/hawd"' in ci.machines["local1"].files["benchmarkkube/build/hawd.conf"]
    assert run[1:3] == ["dummyresourcebenchmark", "dummyresourcebenchmark_1"]


def test_nothing_follows_a_red_night(chain, available):
    ci = night_of(chain, available, at="2026-03-03 01:00")
    ci.on("docker run *", step="build sink").prints("error: no such file\n", stream="stderr").exits(2)
    builds = ci.until("2026-03-03 02:59")
    assert [(build.builder, build.result) for build in builds] == [("debugbuild", "failure")]
    assert "build kube" not in [step.name for step in builds[0].steps]
    for name in ("nightly-release-asan", "nightly-flatpak", "nightly-osx"):
        [skipped] = ci.skipped(name)
        assert "upstream ended failure" in skipped


def test_a_change_is_built_without_what_the_night_does(chain, available):
    ci = night_of(chain, available)
    assert ci.change(repository="https://anongit.kde.org/sink", branch="develop", revision="5" * 40) == []
    ci.advance(hours=3)
    debug, flatpak = ci.builds(scheduler="all")
    assert (debug.builder, flatpak.builder) == ("debugbuild", "nightlyflatpak")
    assert debug.properties["got_revision"]["sink"] == "5" * 40
    assert debug.step("empty build").result == "skipped"
    assert debug.step("test kube").result == "success"
    assert flatpak.step("upload").result == "skipped"
    assert flatpak.step("availability").result == "skipped"
    assert not [ran for ran in ci.ran if "upload.sh" in ran.line]
    assert ci.change(repository="https://anongit.kde.org/kube", branch="a-topic") == []
    assert ci.advance(minutes=10) == []


def test_the_directories_are_mounted_into_the_container(chain, available):
    ci = night_of(chain, available)
    ci.force("force", "asanbuild", runtests=True)
    [tested] = [ran for ran in ci.ran if ran.step == "test sink"]
    assert "/worker/local1/asanbuild/install:/install" in tested.command
    assert "ctest -V -E 'modelinteractivity*'" in tested.command[-1]
    assert "ASAN_OPTIONS=detect_leaks=1" in tested.command


def test_what_is_uploaded_has_to_be_there(chain, available):
    ci = night_of(chain, available)
    asked = available(ci, (503, 0), (200, 2 * 86400), (200, 60))
    [release] = ci.force("uploadNewRelease", "osxbuild")
    assert release.result == "success"
    assert release.log("availability", "looks").text.splitlines() == [
        "https://files.kube-project.com/kube.dmg: status 503",
        "https://files.kube-project.com/kube.dmg: too old",
        "https://files.kube-project.com/kube.dmg: up to date",
    ]
    assert len(asked) == 3
    assert (ci.directory / "packages" / "kube.dmg").read_text() == "a disk image"
    available(ci, (200, 2 * 86400))
    [release] = ci.force("uploadNewRelease", "nightlyflatpak")
    assert (release.result, release.steps[-1].name) == ("failure", "availability")
    assert "too old" in release.steps[-1].state


def test_windows_is_built_when_somebody_asks(chain, available):
    ci = night_of(chain, available)
    [build] = ci.force("force", "winbuild", upload=False)
    assert [step.result for step in build.steps] == ["success", "success", "skipped"]
    assert (ci.directory / "packages" / "kube.exe").exists()


def test_a_week(chain, available):
    """Every night the whole chain, whatever the day."""
    ci = night_of(chain, available, at="2026-03-02 12:00")
    builds = ci.advance(days=7)
    assert {build.result for build in builds} == {"success"}
    nights = Counter((build.scheduler, build.builder) for build in builds)
    assert nights == {(name, builder): 7 for name, names in THE_NIGHT.items() for builder in names}
    starts = [f"{build.started:%a %H:%M}" for build in builds if build.builder == "debugbuild"]
    assert starts == [f"{day} 02:00" for day in ("Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Mon")]
