"""An explained configuration (:mod:`buildwright.config.explaining`) for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

Data = Mapping[str, Any]


def in_lines(explained: Data) -> Iterator[str]:
    """The configuration, a section per kind; what looks forgotten comes last."""
    root = Path(explained["file"]).parent
    for kind, tell in (
        ("builders", _builder),
        ("workers", _worker),
        ("schedulers", _scheduler),
        ("change_sources", _other),
        ("services", _other),
    ):
        if explained[kind]:
            yield click.style(kind.replace("_", " ").capitalize(), bold=True)
            for each in explained[kind]:
                yield f"  {click.style(each['name'], fg='green')}  {_place(each, root)}".rstrip()
                yield from (f"    {line}" for line in tell(each, root))
            yield ""
    if explained["locks"]:
        yield click.style("Locks", bold=True)
        for lock in explained["locks"]:
            users = ", ".join(lock["used_by"]) or "nobody"
            yield f"  {click.style(lock['name'], fg='green')}  {lock['type']} for {lock['at_once']}: {users}"
        yield ""
    if explained["properties"]:
        yield click.style("Properties of all builds", bold=True)
        yield from (f"  {name} = {value!r}" for name, value in explained["properties"].items())
        yield ""
    if explained["remarks"]:
        yield click.style("Remarks", bold=True)
        for remark in explained["remarks"]:
            place = _place(remark, root)
            yield f"  {remark['message']}{f'  {place}' if place else ''}"
        yield ""


def _place(each: Data, root: Path) -> str:
    """Where something was made, short: relative to the configuration's directory."""
    if each["file"] is None:
        return ""
    path = Path(each["file"])
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return click.style(f"({shown}:{each['line']})", dim=True)


def _builder(builder: Data, root: Path) -> Iterator[str]:
    if builder["description"]:
        yield builder["description"]
    yield f"on {', '.join(builder['workers'])}, started by {', '.join(builder['started_by']) or 'nobody'}"
    for name in ("project", "tags", "locks"):
        if builder[name]:
            value = builder[name]
            yield f"{name}: {', '.join(value) if isinstance(value, list) else value}"
    for name in ("properties", "default_properties", "env", "functions"):
        if builder[name]:
            yield f"{name.replace('_', ' ')}: {_pairs(builder[name])}"
    for number, step in enumerate(builder["steps"]):
        arguments = _pairs(step["arguments"])
        yield f"{number} {step['name']}: {step['type']}({arguments})  {_place(step, root)}".rstrip()


def _pairs(values: Data) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _worker(worker: Data, root: Path) -> Iterator[str]:
    del root
    most = "" if worker["max_builds"] is None else f", at most {worker['max_builds']} builds at once"
    yield f"{worker['type']} of {', '.join(worker['builders']) or 'no builder'}{most}"
    if worker["locks"]:
        yield f"locks: {worker['locks']}"
    if worker["properties"]:
        yield f"properties: {_pairs(worker['properties'])}"


def _scheduler(scheduler: Data, root: Path) -> Iterator[str]:
    del root
    builders = scheduler["builders"]
    yield f"{scheduler['type']}: {scheduler['when']}"
    yield f"starts {', '.join(builders) if isinstance(builders, list) else builders}"
    if scheduler["filter"]:
        yield f"filter: {_pairs(scheduler['filter'])}"
    if set(scheduler["codebases"]) != {""}:
        yield f"codebases: {', '.join(scheduler['codebases'])}"
    if scheduler["properties"]:
        yield f"properties: {_pairs(scheduler['properties'])}"


def _other(each: Data, root: Path) -> Iterator[str]:
    del root
    yield each["type"]
