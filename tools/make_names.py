"""Write docs/reference/buildbot-names.md: what becomes of each name that Buildbot's configurations use.

The names are plain data, `tests/data/buildbot_names.json`. What becomes of them comes from the program: a
name that `buildwright.plugins` has, a key that the loader takes and an argument of `BuilderConfig` work, and
then a test is named that passed with it; the others have their reason in `model/absent.py` and
`config/foreign.py`. Tests are found in what the last runs of pytest left in its cache, see
`tests/support/names.py`, and stay in the page while they are there.

`--check` writes nothing and tells whether the page is as it should be; a test runs it.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from buildwright import plugins
from buildwright.config import foreign, keys, network
from buildwright.model.absent import absent
from buildwright.model.builders import BuilderConfig

ROOT = Path(__file__).parents[1]
NAMES = ROOT / "tests" / "data" / "buildbot_names.json"
PAGE = ROOT / "docs" / "reference" / "buildbot-names.md"
CACHE = ROOT / ".pytest_cache" / "d" / "buildbot-names"

TITLES = {"keys": "Keys of `BuildmasterConfig`", "www": "Keys of `c['www']`", "BuilderConfig": "Builders"}
HEAD = """# Buildbot's names

<!-- Written by tools/make_names.py: change what it reads, and run it. -->

What becomes of each name that a configuration of Buildbot 4.3 may use.

- **works**: it is here, with the test that shows it. A test that passes without using what it is named for
  here fails, so none is named in vain.
- **accepted**: it is checked and changes nothing, for the reason that is given. Whoever sets it is told.
- **later**: it isn't here yet, because its part isn't. Asking for it is an error that says so, or a warning
  where nothing is lost without it.
- **refused**: it won't be here, for the reason that is given.
"""

Row = tuple[str, str, str]  # the name as a configuration writes it, what becomes of it, and more of that


def rows(section: str, names: list[str], evidence: dict[str, str]) -> Iterator[Row]:
    for name in names:
        if section == "keys":
            shown, reason = f"c['{name}']", foreign.KEYS.get(name)
            known = name in keys.KEYS
        elif section == "www":
            shown, reason = f"c['www']['{name}']", foreign.WWW.get(name)
            known = name in network.WWW_KEYS
        elif section == "BuilderConfig":
            shown, reason = f"BuilderConfig({name}=)", None
            known = name in inspect.signature(BuilderConfig).parameters
        else:
            shown, reason = f"{section}.{name}", None
            known = _is_there(section, name)
        if reason is not None:
            yield shown, reason.kind, reason.why
        elif known:
            yield shown, "works", f"`{evidence[shown]}`" if shown in evidence else "no test"
        else:
            missing = absent(section, name)
            yield shown, *(missing if missing is not None else ("unknown", ""))


def _is_there(namespace: str, name: str) -> bool:
    """Whether the plugins have it; a dotted name is one of a namespace within."""
    try:
        functools.reduce(getattr, name.split("."), getattr(plugins, namespace))
    except AttributeError:
        return False
    return True


def page(evidence: dict[str, str]) -> tuple[str, list[Row]]:
    """The page, and the rows that lack something."""
    text, wrong, count = "", [], {"works": 0, "accepted": 0, "later": 0, "refused": 0}
    for section, names in json.loads(NAMES.read_text(encoding="utf-8")).items():
        text += f"\n## {TITLES.get(section, section)}\n\n| name | | |\n|---|---|---|\n"
        for row in rows(section, names, evidence):
            text += f"| `{row[0]}` | {row[1]} | {row[2]} |\n"
            if row[1] not in count or row[2] == "no test":
                wrong.append(row)
            else:
                count[row[1]] += 1
    text += "\n## Keys that Buildbot has dropped\n\nAn error that says what to write instead.\n\n"
    text += "| key | instead |\n|---|---|\n"
    text += "".join(f"| `c['{key}']` | {instead} |\n" for key, instead in sorted(foreign.DROPPED.items()))
    summary = ", ".join(f"{number} {kind}" for kind, number in count.items())
    return f"{HEAD}\n{sum(count.values())} names: {summary}.\n{text}", wrong


def stated() -> dict[str, str]:
    """The tests that the page names, as far as they are there."""
    from tests.support.names import claims

    if not PAGE.exists():
        return {}
    return {name: test for name, test in claims(PAGE.read_text(encoding="utf-8")).items() if _is_a_test(test)}


def _is_a_test(nodeid: str) -> bool:
    file, _, name = nodeid.partition("::")
    path = ROOT / file
    function = re.escape(name.partition("[")[0].rpartition("::")[2])
    return path.is_file() and re.search(rf"def {function}\(", path.read_text(encoding="utf-8")) is not None


def found() -> dict[str, str]:
    """The best tests of the last runs."""
    best: dict[str, list[object]] = {}
    for file in sorted(CACHE.glob("*.json")):
        for name, candidate in json.loads(file.read_text(encoding="utf-8")).items():
            if _is_a_test(candidate[1]) and (name not in best or candidate < best[name]):
                best[name] = candidate
    return {name: str(candidate[1]) for name, candidate in best.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page is old")
    parser.add_argument("--anew", action="store_true", help="choose all tests anew, not only those that lack")
    arguments = parser.parse_args()
    if arguments.check:
        text, wrong = page(stated())
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
    else:
        text, wrong = page(found() if arguments.anew else {**found(), **stated()})
        PAGE.write_text(text, encoding="utf-8")
        current = True
    for name, what, _ in wrong:
        if what == "works":
            print(f"{name} works, and no test is known: run those that use it, then this program")
        else:
            print(f"{name} isn't here: give the reason in src/buildwright/model/absent.py")
    if not current:
        print(f"{PAGE.relative_to(ROOT)} is old: run tools/make_names.py")
    return 1 if wrong or not current else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
