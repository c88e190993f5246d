"""Write a migration for what store/schema.py says and the migrations so far don't.

    python tools/new_migration.py "keep the reason of a pause"

Read and correct what it wrote: it sees tables, columns and indexes, and knows nothing of data. A migration
that is committed is frozen: databases were made with it. What it lacks comes with the next one.
"""

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext

from buildwright.store.migrate import OURS, VERSION_TABLE, Migrations, upgrade
from buildwright.store.schema import metadata

TEMPLATE = '''"""{text}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {previous!r}


def upgrade() -> None:
{body}
'''


def name_conditions() -> None:
    """Tell Alembic the conditions of partial indexes, which the schema keeps apart (see its ``_partial``)."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if (where := index.info.get("where")) is not None:
                for dialect in ("sqlite", "postgresql"):
                    index.dialect_options[dialect]["where"] = sa.text(where)


def difference() -> str:
    """The operations that lead from the migrations' schema to the program's."""
    name_conditions()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.sqlite"
        copy = Path(directory) / "migrations"
        shutil.copytree(OURS.directory, copy)
        asyncio.run(upgrade(f"sqlite:///{path}", Path(directory), migrations=Migrations(copy)))
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": VERSION_TABLE, "render_as_batch": False}
            )
            operations = produce_migrations(context, metadata).upgrade_ops
            body = render_python_code(operations) if operations is not None else ""
        engine.dispose()
    return re.sub(r"^# .*\n?|^    # .*\n?", "", body, flags=re.MULTILINE).strip("\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", help="what changes, in a few words")
    options = parser.parse_args()
    number = int(OURS.head) + 1
    body = difference()
    if not body.strip() or body.strip() == "pass":
        sys.exit("The migrations and the schema agree; there is nothing to write.")
    slug = re.sub(r"\W+", "_", options.text.lower()).strip("_")
    path = OURS.directory / "versions" / f"{number:04d}_{slug}.py"
    indented = "\n".join(
        line if line.startswith("    ") or not line else f"    {line}" for line in body.splitlines()
    )
    path.write_text(
        TEMPLATE.format(
            text=options.text[:1].upper() + options.text[1:],
            revision=f"{number:04d}",
            previous=OURS.head,
            body=indented,
        )
    )
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", path], check=True)
    print(path)


if __name__ == "__main__":
    main()
