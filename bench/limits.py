"""What this machine could do at most: the bare loops that a row's value is set beside.

Run as a program it prints them all.
"""

import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from pathlib import Path

SECONDS = 3.0
MB = 1_000_000


def spawns() -> float:
    """Processes a second of a loop that only spawns `true` and waits for it."""
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        subprocess.run(["true"], check=True)
        count += 1
    return count / passed


def ten_spawns() -> float:
    """Builds of ten such processes a second."""
    return spawns() / 10


def inserts() -> float:
    """Durable transactions a second of `sqlite3`, each of one row as a build's."""
    with tempfile.TemporaryDirectory() as directory:
        connection = sqlite3.connect(Path(directory) / "limit.sqlite", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE builds (id INTEGER PRIMARY KEY, builder INTEGER, state TEXT, results INTEGER)"
        )
        count, began = 0, time.perf_counter()
        while (passed := time.perf_counter() - began) < SECONDS:
            connection.execute(
                "INSERT INTO builds (builder, state, results) VALUES (1, 'build successful', 0)"
            )
            count += 1
        connection.close()
    return count / passed


def socket_rate() -> float:
    """MB/s of a file that `cat` prints into a pipe and we send through a socket of loopback."""
    with tempfile.NamedTemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as server:
        file.write(b"a line of a log that is some sixty bytes long, as they often are\n" * (200 * MB // 65))
        file.flush()
        received = 0

        def receive() -> None:
            nonlocal received
            connection, _ = server.accept()
            with connection:
                while block := connection.recv(1 << 18):
                    received += len(block)

        reader = threading.Thread(target=receive, name="receive")
        reader.start()
        began = time.perf_counter()
        with (
            socket.create_connection(server.getsockname()) as out,
            subprocess.Popen(["cat", file.name], stdout=subprocess.PIPE) as cat,
        ):
            assert cat.stdout is not None
            while block := cat.stdout.read(1 << 16):
                out.sendall(block)
        reader.join()
        return received / MB / (time.perf_counter() - began)


LIMITS = {"spawns": spawns, "ten_spawns": ten_spawns, "inserts": inserts, "socket": socket_rate}

if __name__ == "__main__":
    for name, limit in LIMITS.items():
        print(f"{name:12} {limit():12,.0f}")
