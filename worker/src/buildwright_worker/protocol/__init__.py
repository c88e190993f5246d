"""What a master and a worker say to each other, and both ends of the session, without any I/O.

messages     the messages
codec        their bytes: `encode`, `decode`; `checks` has the checks and `ProtocolError`
worker_side  `WorkerSession`, which lives as long as a worker process, over all its connections;
             `worker_events` and `store` are what it says and what it needs
master_side  `MasterSession`, one per connection
liveness     when to ping, and when the peer is called dead
masking      `Masker`, which keeps secret values out of streams
"""

from .checks import ProtocolError, valid_id
from .codec import decode, encode
from .liveness import PeerSilent
from .masking import Masker
from .master_side import MasterSession
from .messages import (
    MAX_FRAME,
    MAX_RECORD_DATA,
    VERSION,
    CommandAnswer,
    HeldCommand,
    Hello,
    LostCommand,
    Record,
    Result,
    Secret,
)
from .worker_side import WorkerSession

__all__ = [
    "MAX_FRAME",
    "MAX_RECORD_DATA",
    "VERSION",
    "CommandAnswer",
    "HeldCommand",
    "Hello",
    "LostCommand",
    "Masker",
    "MasterSession",
    "PeerSilent",
    "ProtocolError",
    "Record",
    "Result",
    "Secret",
    "WorkerSession",
    "decode",
    "encode",
    "valid_id",
]
