"""What travels on a channel after its handshake (layer 1, no I/O).

* `prologue.py`: what a handshake binds;
* `records.py`: encrypted records, rekeying, the typed end;
* `messages.py`: routes and the payloads of small records;
* `streams.py`: session messages in records;
* `control.py`: control messages, their schemas and their records;
* `errors.py`: one failure for everything that a peer can do wrong.
"""

from mpcd.wire.control import CONTROL, Assembler, Registry, fragments
from mpcd.wire.errors import WireFailed, WireMisuse
from mpcd.wire.messages import CloseReason, Link, Route, session_prefix, step_hash
from mpcd.wire.prologue import WIRE_VERSION, prologue
from mpcd.wire.records import PAYLOAD_BYTES_MAX, RecordReader, RecordType, RecordWriter
from mpcd.wire.streams import Outgoing, StreamReader, StreamWriter

__all__ = [
    "CONTROL",
    "PAYLOAD_BYTES_MAX",
    "WIRE_VERSION",
    "Assembler",
    "CloseReason",
    "Link",
    "Outgoing",
    "RecordReader",
    "RecordType",
    "RecordWriter",
    "Registry",
    "Route",
    "StreamReader",
    "StreamWriter",
    "WireFailed",
    "WireMisuse",
    "fragments",
    "prologue",
    "session_prefix",
    "step_hash",
]
