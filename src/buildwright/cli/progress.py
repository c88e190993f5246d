"""What is waited for, while it is waited for: a spinner on a terminal, one line anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def waiting(text: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Show what is waited for on standard error; what it gives changes the text."""
    if quiet:
        yield lambda _text: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status(Text(text)) as shown:
            yield lambda text: shown.update(Text(text))
    else:
        click.echo(text, err=True)
        told = [text]

        def update(text: str) -> None:
            if text != told[0]:
                told[0] = text
                click.echo(text, err=True)

        yield update
