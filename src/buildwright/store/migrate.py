from collections.abc import Iterator

from sqlalchemy.schema import CreateIndex, CreateTable

from buildwright.store.schema import metadata
from buildwright.store.unit import dialect_of


def create_statements(dialect: str) -> Iterator[str]:
    """The statements that make every table and index in an empty database."""
    kind = dialect_of(dialect)
    for table in metadata.sorted_tables:
        yield str(CreateTable(table).compile(dialect=kind))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield str(CreateIndex(index).compile(dialect=kind))
