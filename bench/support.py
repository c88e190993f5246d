"""What several families of rows need: a PostgreSQL of one's own, and files of a given shape."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.postgres import Cluster


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database in a server as shipped; gone at the end."""
    cluster = Cluster()
    try:
        cluster.start()
        with cluster.database() as url:
            # The form that names the driver: SQLAlchemy 2.1 would take another by itself.
            yield url.replace("postgresql:", "postgresql+psycopg2:")
    finally:
        cluster.destroy()


def write_lines(path: Path, size: int) -> int:
    """Write about `size` bytes of a compiler's kind of output; returns how many."""
    line = "[{0:6d}/999999] Building CXX object src/module_{1:03d}/CMakeFiles/part.dir/source_{0:06d}.cpp.o\n"
    written = number = 0
    with path.open("w", encoding="ascii") as out:
        while written < size:
            written += out.write(line.format(number, number % 997))
            number += 1
    return written


def write_short_lines(path: Path, count: int) -> int:
    """Write `count` lines of six digits; returns the bytes."""
    with path.open("w", encoding="ascii") as out:
        return sum(out.write(f"{number % 1000000:06d}\n") for number in range(count))
