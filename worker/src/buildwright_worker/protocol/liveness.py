"""Whether the peer still answers: the same rule for both ends of a connection.

Any frame received is a sign of life. After `idle` seconds without one a Ping is due, and again every `idle`
seconds; when the first of them has gone unanswered for `idle + 3` seconds (2 x idle + 3 of silence) the
peer is called dead. `idle` is short while commands are open and long else.

A process that was frozen itself, or whose loop was blocked, has not listened: its silence says nothing
about the peer. So when a tick comes much later than it was due, the count begins again with a new Ping.
"""

from __future__ import annotations

from .checks import ProtocolError

GRACE_S = 3.0
OVERSLEPT_S = 3.0


class PeerSilent(ProtocolError):
    """The peer has not answered for too long: close the connection."""


class Liveness:
    def __init__(self, now: float, idle_s: float = 20.0, busy_s: float = 2.0) -> None:
        self.heard_at = now
        self._idle_s = idle_s
        self._busy_s = busy_s
        self._asked_at: float | None = None  # when the first unanswered Ping was sent
        self._last_ping = now
        self._due = now + idle_s
        self._token = 0

    def configure(self, idle_s: float, busy_s: float) -> None:
        self._idle_s = idle_s
        self._busy_s = busy_s

    def heard(self, now: float) -> None:
        self.heard_at = now
        self._asked_at = None

    def due(self, busy: bool) -> float:
        """When `tick` must be called next, unless a frame comes before."""
        period = self._busy_s if busy else self._idle_s
        if self._asked_at is None:
            self._due = self.heard_at + period
        else:
            self._due = min(self._last_ping + period, self._asked_at + period + GRACE_S)
        return self._due

    def tick(self, now: float, busy: bool) -> int | None:
        """The token of a Ping to send now, if one is due. Raises PeerSilent."""
        if now < self.due(busy):
            return None
        period = self._busy_s if busy else self._idle_s
        if self._asked_at is not None and now > self._due + OVERSLEPT_S:
            self._asked_at = None
        if self._asked_at is not None and now >= self._asked_at + period + GRACE_S:
            raise PeerSilent(f"no sign of life for {now - self.heard_at:.1f} s")
        return self.ping(now)

    def ping(self, now: float) -> int:
        """The token of a Ping that is sent now."""
        if self._asked_at is None:
            self._asked_at = now
        self._last_ping = now
        self._token += 1
        return self._token
