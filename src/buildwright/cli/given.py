"""What commands that need no master take on their command lines: a configuration, properties, sources."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from buildwright.cli.basedir import CONFIGURATION, configuration_in
from buildwright.cli.faults import Failure, show
from buildwright.model.errors import ConfigErrors, suggest

if TYPE_CHECKING:
    from buildwright.model.builders import BuilderConfig
    from buildwright.model.snapshot import Snapshot

_PLAIN = re.compile(r"(?:true|false|null|-?(?:0|[1-9][0-9]*))\Z")


def configuration(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option that names the configuration."""
    return click.option(
        "--config",
        "path",
        metavar="FILE|DIR",
        type=click.Path(path_type=Path),
        default=Path(),
        help="The configuration, or the master's directory with it; by default this one.",
    )(function)


def loaded(path: Path) -> Snapshot:
    """The configuration; one that is wrong ends the command with everything that is wrong with it."""
    from buildwright.config.loader import load

    if not path.is_dir() and not path.exists() and path.suffix:
        raise Failure(f"there is no file {path}")
    file = path if path.is_file() else configuration_in(path, CONFIGURATION)
    try:
        snapshot = load(file, file.parent)
    except ConfigErrors as errors:
        show(errors.errors, errors.warnings)
        sys.exit(1)
    show((), snapshot.warnings)
    return snapshot


def builder_of(snapshot: Snapshot, name: str) -> BuilderConfig:
    """A builder of the configuration; raises Failure with what may have been meant."""
    builders = snapshot.builders
    if name not in builders:
        shown = ", ".join(sorted(builders)[:10]) + (", …" if len(builders) > 10 else "")
        raise Failure(f"there is no builder {name!r}: {suggest(name, builders) or f'there are {shown}'}")
    return builders[name]


def named_values(_context: Any, parameter: Any, given: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE, repeated. What is true, false, null, a whole number, or begins as a list, an object or a
    text in quotes does in JSON, is that; everything else is text.
    """
    found: dict[str, Any] = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{each!r} is not NAME=VALUE", param=parameter)
        found[name] = _value(text)
    return found


def _value(text: str) -> Any:
    if _PLAIN.match(text) or text[:1] in ('"', "[", "{"):
        with contextlib.suppress(ValueError):
            return json.loads(text)
    return text
