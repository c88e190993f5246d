"""Many of the peer's own workers in one process; runs in the peer's environment.

    python peer_workers.py PORT BASEDIR NAME...

Prints `ready` when everything is imported, and lets them attach when a line comes on standard input: ten at a
time, since a burst of more overflows the master's listen queue, after which the rest wait for ever on
connections that the master doesn't know.
"""

import sys
from pathlib import Path

from buildbot_worker.bot import Worker
from buildbot_worker.pb import BotFactory
from twisted.internet import reactor
from twisted.python import log

AT_A_TIME = 10


def main() -> None:
    port, base, names = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    log.startLogging(sys.stdout, setStdout=False)
    waiting = []
    for name in names:
        home = base / name
        (home / "info").mkdir(parents=True)
        waiting.append(Worker("127.0.0.1", port, name, "secret", str(home), keepalive=600))

    def start_next() -> None:
        if waiting:
            waiting.pop().startService()

    logged_in = BotFactory.gotPerspective

    def got_perspective(factory: BotFactory, perspective: object) -> None:
        logged_in(factory, perspective)
        start_next()

    BotFactory.gotPerspective = got_perspective

    def attach() -> None:
        sys.stdin.readline()
        for _ in range(AT_A_TIME):
            reactor.callFromThread(start_next)

    reactor.callInThread(attach)
    print("ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
