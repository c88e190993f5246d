"""Look through every tracked file for what must not be in the tree.

Three kinds: addresses of package registries (a lock file carries names, versions and hashes, so that it
works behind any mirror), absolute paths of the machine that somebody worked on, and marks of unfinished work.
A find is printed as `file:line: what`, and the exit code is 1. The patterns are written so that this file
does not match itself.
"""

import re
import subprocess
import sys
from pathlib import Path

EVERYWHERE = {
    "a package registry's address": re.compile(
        r"pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|yarnpkg[.]com|deb[.]debian[.]org|crates[.]io"
    ),
    "a path of somebody's machine": re.compile(r"(?<![\w.$}])/(?:work|root|home/\w+|Users/\w+)/(?=[\w.])"),
    "unfinished work": re.compile(
        r"\b(?:TO[D]O|FIX[M]E|X[X]X|NotImplemented[E]rror|pytest[.]skip|mark[.]skip(?:if)?|importor[s]kip)\b"
    ),
    "a conflict mark": re.compile(r"^(?:<{7}|>{7})(?: |$)"),
}
# npm's lock names whom to fund by address, and where a package came from as `resolved`.
IN_LOCKS = {
    "an address in a lock file": re.compile(
        r"\"resolved\":|^(?!\s*(?:\"url\": )?\"https://[^\"]*\",?$).*https?://|--(?:extra-)?index-url|--find-links"
    )
}
LOCK = re.compile(r"(?:^|/)(?:requirements/[^/]+[.]txt|[^/]*lock[^/]*[.](?:json|toml|yaml))$")


def tracked_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    )
    return [name for name in listed.stdout.decode().split("\0") if name]


def findings(name: str, text: str) -> list[str]:
    patterns = EVERYWHERE | IN_LOCKS if LOCK.search(name) else EVERYWHERE
    return [
        f"{name}:{number}: {what}: {line.strip()[:120]}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in patterns.items()
        if pattern.search(line)
    ]


def main() -> int:
    found: list[str] = []
    for name in tracked_files():
        path = Path(name)
        if not path.is_file():  # deleted, not yet committed; or a link to nowhere
            continue
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            found += findings(name, content.decode(errors="replace"))
    print("\n".join(found) if found else "The tree is clean.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
