"""Source stamps: one row per distinct source, found by a hash of everything that makes it distinct.

A stamp never changes and is never removed while something points to it, so it is looked up first and
inserted only when it is new. Two units that insert the same stamp at once meet in its unique hash: the
second waits, inserts nothing and looks it up again. Missing stamps are inserted in the order of their
hashes, so that two units never wait for each other's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from buildwright.model.text import encode_json
from buildwright.store import schema
from buildwright.store.unit import Statement, Work, in_set, insert

Stamp = Mapping[str, Any]
"""branch, revision, repository, project, codebase (all but the first two default to ''), and patch: None or a
mapping of level, body (bytes), author, comment, subdir."""

_stamps = schema.sourcestamps
_patches = schema.patches

FIND = Statement(
    "find_sourcestamps",
    lambda dialect: sa.select(_stamps.c.ss_hash, _stamps.c.id).where(
        in_set(_stamps.c.ss_hash, "hashes")(dialect)
    ),
)
ADD = Statement(
    "add_sourcestamp",
    lambda dialect: (
        insert(dialect, _stamps)
        .values(
            {
                name: sa.bindparam(name)
                for name in (
                    "ss_hash",
                    "branch",
                    "revision",
                    "repository",
                    "codebase",
                    "project",
                    "patchid",
                    "created_at",
                )
            }
        )
        .on_conflict_do_nothing(index_elements=["ss_hash"])
        .returning(_stamps.c.id)
    ),
)
ADD_PATCH = Statement(
    "add_patch",
    lambda _dialect: (
        sa.insert(_patches)
        .values({name: sa.bindparam(name) for name in ("level", "body", "author", "comment", "subdir")})
        .returning(_patches.c.id)
    ),
)
DROP_PATCH = Statement(
    "drop_patch", lambda _dialect: sa.delete(_patches).where(_patches.c.id == sa.bindparam("id"))
)


def stamp_hash(stamp: Stamp) -> str:
    """What makes a source distinct, as text: the key that its row is found by."""
    patch = stamp.get("patch")
    parts: list[Any] = [stamp.get(name) for name in ("branch", "revision")]
    parts += [stamp.get(name) or "" for name in ("repository", "project", "codebase")]
    if patch:
        body = patch["body"]
        parts += [
            patch.get("level", 0),
            hashlib.sha256(_bytes(body)).hexdigest(),
            patch.get("author") or "",
            patch.get("comment") or "",
            patch.get("subdir"),
        ]
    return hashlib.sha256(encode_json(parts).encode()).hexdigest()


def _bytes(body: str | bytes) -> bytes:
    return body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body)


def sourcestamp_ids(stamps: Sequence[Stamp], now_us: int) -> Work[list[int]]:
    """Part of a unit: the ids of these stamps, in their order; new ones get a row."""
    hashes = [stamp_hash(stamp) for stamp in stamps]
    if not hashes:
        return []
    rows = yield FIND(hashes=sorted(set(hashes)))
    known: dict[str, int] = dict(rows)
    missing = {key: stamp for key, stamp in zip(hashes, stamps, strict=True) if key not in known}
    for key in sorted(missing):
        known[key] = yield from _add(key, missing[key], now_us)
    return [known[key] for key in hashes]


def _add(key: str, stamp: Stamp, now_us: int) -> Work[int]:
    patch = stamp.get("patch")
    patchid: int | None = None
    if patch:
        body = patch["body"]
        [(patchid,)] = yield ADD_PATCH(
            level=patch.get("level", 0),
            body=_bytes(body),
            author=patch.get("author") or "",
            comment=patch.get("comment") or "",
            subdir=patch.get("subdir"),
        )
    rows = yield ADD(
        ss_hash=key,
        branch=stamp.get("branch"),
        revision=stamp.get("revision"),
        repository=stamp.get("repository") or "",
        codebase=stamp.get("codebase") or "",
        project=stamp.get("project") or "",
        patchid=patchid,
        created_at=now_us,
    )
    if not rows:  # another unit was first
        if patchid is not None:
            yield DROP_PATCH(id=patchid)
        rows = yield FIND(hashes=[key])
        return int(rows[0][1])
    return int(rows[0][0])
