"""Source stamps and changes of a build, from the store's rows."""

from __future__ import annotations

import json

from buildwright.model.properties import Properties
from buildwright.model.sources import Change, Patch, SourceStamp
from buildwright.store.units.claims import ChangeRow, Facts


def source_stamps(known: Facts, buildsetid: int) -> list[SourceStamp]:
    """What a buildset is built from, each source stamp with the changes of its codebase."""
    patches = {row.id: row for row in known.patches}
    changes = [row for row in known.changes if row.buildsetid == buildsetid]
    made = []
    for stamp in known.stamps:
        if stamp.buildsetid != buildsetid:
            continue
        patch = patches.get(stamp.patchid) if stamp.patchid is not None else None
        made.append(
            SourceStamp(
                ssid=stamp.ssid,
                branch=stamp.branch,
                revision=stamp.revision,
                repository=stamp.repository,
                project=stamp.project,
                codebase=stamp.codebase,
                patch=Patch(patch.level, patch.body, patch.subdir or "", patch.author, patch.comment)
                if patch
                else None,
                changes=[_change(row) for row in changes if row.codebase == stamp.codebase],
            )
        )
    return made


def _change(row: ChangeRow) -> Change:
    return Change(
        number=row.changeid,
        who=row.author,
        files=json.loads(row.files),
        comments=row.comments,
        branch=row.branch,
        revision=row.revision,
        revlink=row.revlink,
        category=row.category,
        when=row.when_us / 1e6,
        repository=row.repository,
        project=row.project,
        codebase=row.codebase,
        properties=Properties.from_json(row.properties),
    )
