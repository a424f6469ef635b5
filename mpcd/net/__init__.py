"""The network of one daemon: who may connect, encrypted channels, and the links of sessions on them (layer 11, trio).

config.py     identity, peers, time-outs         events.py     what the log is told
pacing.py     back-off, token buckets            windows.py    flow control per link
hello.py      roster and run, told encrypted     handshake.py  three messages, silence for the rest
channel.py    one connection, both directions    inbox.py      where messages are put
links.py      a session's view: transports       peer.py       which channel stays; control messages
mesh.py       listen, dial, reconnect            recording.py  the tests' view of the plaintext
memory.py     keep freed vectors
"""

from mpcd.net.config import LocalIdentity, Pace, PeerConfig, RosterView
from mpcd.net.events import Event, EventSink
from mpcd.net.links import SessionLinks, SessionTransport
from mpcd.net.mesh import ControlHandler, Mesh
from mpcd.net.peer import PeerStatus

__all__ = [
    "ControlHandler",
    "Event",
    "EventSink",
    "LocalIdentity",
    "Mesh",
    "Pace",
    "PeerConfig",
    "PeerStatus",
    "RosterView",
    "SessionLinks",
    "SessionTransport",
]
