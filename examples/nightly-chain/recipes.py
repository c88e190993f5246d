"""What the builders of the nightly chain do."""

from availability import CheckAvailability

from buildwright.plugins import steps, util

NAMES = ("kasync", "kdav2", "kimap2", "sink", "kube")  # in the order in which they need each other
REPOSITORIES = {name: f"https://anongit.kde.org/{name}" for name in NAMES}
CODEBASES = {
    name: {"repository": REPOSITORIES[name], "branch": "develop" if name in ("sink", "kube") else "master"}
    for name in NAMES
}
FILES = "https://files.kube-project.com"
MIRROR = "files@files.kube-project.com"

CLEAN = util.Property("cleanbuild")
TESTS = util.Property("runtests")
UPLOAD = util.Property("upload")

BENCHMARKS = (
    "mailquerybenchmark",
    "dummyresourcebenchmark",
    "dummyresourcebenchmark",
    "dummyresourcewritebenchmark",
    "storagebenchmark",
    "pipelinebenchmark",
    "imapmailsyncbenchmark",
)


def sources():
    return [
        steps.Git(repourl=REPOSITORIES[name], codebase=name, workdir=f"src/{name}", mode="incremental")
        for name in NAMES
    ]


def in_container(script, *options):
    """A script in the development image, with the build's directories in it."""
    mounts = []
    for name in ("src", "build", "install"):
        mounts += ["-v", util.Interpolate(f"%(prop:builddir)s/{name}:/{name}")]
    return [
        *("docker", "run", "--rm", "--security-opt", "seccomp:unconfined"),
        *mounts,
        *options,
        *("kubedev", "bash", "-c", script),
    ]


def compiled(build_type, flags=""):
    """The image, empty directories if they are asked for, and each repository built and installed."""
    made = [
        steps.ShellCommand(
            name="image",
            command=["docker", "build", "-t", "kubedev", "."],
            workdir="src/kube/docker",
            haltOnFailure=True,
        ),
        *(
            steps.RemoveDirectory(name=f"empty {each}", dir=each, doStepIf=CLEAN)
            for each in ("build", "install")
        ),
    ]
    for name in NAMES:
        cmake = f"cmake -DCMAKE_BUILD_TYPE={build_type} -DCMAKE_INSTALL_PREFIX=/install {flags} /src/{name}"
        script = f"mkdir -p /build/{name} && cd /build/{name} && {cmake} && make -j$(nproc) && make install"
        made.append(
            steps.ShellCommand(
                name=f"build {name}", command=in_container(script), workdir="src", haltOnFailure=True
            )
        )
    return made


def checked(ctest="ctest -V", options=()):
    """The tests of the two that have some; kube's want a screen."""
    screen = ("-v", "/tmp/.X11-unix:/tmp/.X11-unix", "--device", "/dev/dri/card0")  # noqa: S108
    scripts = {
        "sink": f"/src/sink/tests/start-imap.sh && cd /build/sink && {ctest}",
        "kube": f"cd /build/kube && xvfb-run {ctest}",
    }
    return [
        steps.ShellCommand(
            name=f"test {name}",
            command=in_container(script, *screen, *options),
            workdir="src",
            timeout=1200,
            doStepIf=TESTS,
        )
        for name, script in scripts.items()
    ]


def linux(build_type, asan=False):
    if not asan:
        return util.BuildFactory([*sources(), *compiled(build_type), *checked()])
    options = ("-e", "ASAN_OPTIONS=detect_leaks=1", "-e", "LSAN_OPTIONS=suppressions=/src/sink/suppressions")
    only = checked("ctest -V -E 'modelinteractivity*'", options)
    return util.BuildFactory([*sources(), *compiled(build_type, "-DENABLE_ASAN=TRUE"), *only])


def benchmarks():
    """A release build, then each benchmark; what they measure is kept beside the builders' directories."""
    configuration = '{"results": "/hawd", "project": "/src/sink/hawd_defs"}'
    run = [
        steps.ShellCommand(
            name=name,
            command=in_container(
                f"cd /build/sink && ./tests/{name}",
                *("-v", util.Interpolate("%(prop:basedir)s/hawd:/hawd")),
                *("-e", "QTEST_FUNCTION_TIMEOUT=1800000"),
            ),
            workdir="src",
            timeout=2400,
        )
        for name in BENCHMARKS
    ]
    written = steps.StringDownload(
        configuration + "\n", workerdest="hawd.conf", workdir="build", name="hawd.conf"
    )
    return util.BuildFactory([*sources(), *compiled("Release"), written, *run])


def flatpak(name):
    """On the master, where the keys are: nothing to do if the branch isn't there."""
    return util.BuildFactory(
        [
            steps.MasterShellCommand(
                name="is it there",
                command=["git", "ls-remote", "--exit-code", REPOSITORIES["kube"], "refs/heads/develop"],
            ),
            steps.MasterShellCommand(name="rebuild", command=f"~/flatpak/rebuild.sh {name}"),
            steps.MasterShellCommand(name="upload", command=f"~/flatpak/upload.sh {name}", doStepIf=UPLOAD),
            CheckAvailability(f"{FILES}/flatpak/repo/summary", doStepIf=UPLOAD),
        ]
    )


def mac(product):
    image = f"{product}.dmg"
    packages = [
        steps.ShellCommand(name=f"craft {name}", command=["craft.py", "-i", name], haltOnFailure=True)
        for name in NAMES
    ]
    return util.BuildFactory(
        [
            *packages,
            steps.ShellCommand(
                name="package", command=["craft.py", "--package", product], haltOnFailure=True
            ),
            steps.ShellCommand(
                name="self test",
                command=f"hdiutil attach {image} && /Volumes/{product}/sinksh selftest",
                haltOnFailure=True,
            ),
            steps.FileUpload(workersrc=image, masterdest=f"packages/{image}"),
            *sent(image),
            CheckAvailability(f"{FILES}/{image}", doStepIf=UPLOAD),
        ]
    )


def windows():
    return util.BuildFactory(
        [
            steps.ShellCommand(name="craft", command=["craft", "-i", "kube"], haltOnFailure=True),
            steps.FileUpload(workersrc="kube.exe", masterdest="packages/kube.exe"),
            *sent("kube.exe"),
        ]
    )


def sent(file):
    """To the mirror."""
    command = ["scp", "-B", f"packages/{file}", f"{MIRROR}:"]
    return [steps.MasterShellCommand(name="send", command=command, doStepIf=UPLOAD)]
