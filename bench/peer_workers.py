"""Many of the peer's own workers in one process; runs in the peer's environment.

    python peer_workers.py PORT BASEDIR NAME...

Prints `ready` when everything is imported, and lets them attach when a line comes on standard input.
"""

import sys
from pathlib import Path

from buildbot_worker.bot import Worker
from twisted.internet import reactor
from twisted.python import log


def main() -> None:
    port, base, names = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    log.startLogging(sys.stdout, setStdout=False)
    workers = []
    for name in names:
        home = base / name
        (home / "info").mkdir(parents=True)
        workers.append(Worker("127.0.0.1", port, name, "secret", str(home), keepalive=600))

    def attach() -> None:
        sys.stdin.readline()
        for worker in workers:
            reactor.callFromThread(worker.startService)

    reactor.callInThread(attach)
    print("ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
