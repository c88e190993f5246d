"""Data that a build leaves behind: bytes under a name, of which the last writing counts."""

from __future__ import annotations

import sqlalchemy as sa

from buildwright.store import schema
from buildwright.store.unit import Statement, insert

SET_BUILD_DATA = Statement(
    "builddata.set",
    lambda dialect: (
        insert(dialect, schema.build_data)
        .values(
            buildid=sa.bindparam("buildid"),
            name=sa.bindparam("name"),
            value=sa.bindparam("value"),
            length=sa.bindparam("length"),
            source=sa.bindparam("source"),
        )
        .on_conflict_do_update(
            index_elements=["buildid", "name"],
            set_={
                "value": sa.bindparam("value"),
                "length": sa.bindparam("length"),
                "source": sa.bindparam("source"),
            },
        )
    ),
)
