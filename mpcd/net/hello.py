"""What two daemons tell each other as soon as nobody else can read it (pure).

The dialler's hello is the payload of handshake message 3, the listener's is the first record: its arrival is what
confirms the channel to the dialler.  Both have one fixed size, so that their length says nothing.  A hello never
decides whether a channel lives: rosters may differ while an update spreads, and the difference is shown to both
operators.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpcd import canonical
from mpcd.ids import RosterHash
from mpcd.net.config import RosterView

HELLO_BYTES = 256
INSTANCE_BYTES = 16
_HASH_BYTES = 32


class HelloInvalid(ValueError):
    """Not a hello; the channel is not opened."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The roster we hold, which run of our daemon this is, and which channel (by hash) the new one replaces."""

    roster_version: int
    roster_hash: RosterHash
    instance: bytes
    """Drawn at each start of a daemon: tells a restarted peer from a second channel of the same one."""
    replaces: bytes = b""

    def encode(self) -> bytes:
        """`HELLO_BYTES` bytes."""
        value = {"i": self.instance, "r": self.replaces, "rh": self.roster_hash, "rv": self.roster_version}
        body = canonical.encode(value)
        assert len(body) <= HELLO_BYTES - 2
        return len(body).to_bytes(2, "big") + body + bytes(HELLO_BYTES - 2 - len(body))

    @staticmethod
    def decode(data: bytes) -> Hello:
        """The hello of `data`; raises `HelloInvalid` for anything else."""
        if len(data) != HELLO_BYTES:
            raise HelloInvalid("a hello has one size")
        length = int.from_bytes(data[:2], "big")
        if length > HELLO_BYTES - 2 or any(data[2 + length :]):
            raise HelloInvalid("a hello is padded with zeros")
        try:
            value = canonical.decode(data[2 : 2 + length])
        except canonical.CanonicalError as error:
            raise HelloInvalid("not canonical") from error
        if not isinstance(value, dict) or set(value) != {"i", "r", "rh", "rv"}:
            raise HelloInvalid("not the fields of a hello")
        instance, replaces, roster_hash, version = value["i"], value["r"], value["rh"], value["rv"]
        if not isinstance(version, int) or isinstance(version, bool) or version < 0:
            raise HelloInvalid("a roster version is a whole number")
        if not isinstance(instance, bytes) or len(instance) != INSTANCE_BYTES:
            raise HelloInvalid("an instance has 16 bytes")
        if not isinstance(roster_hash, bytes) or len(roster_hash) != _HASH_BYTES:
            raise HelloInvalid("a roster hash has 32 bytes")
        if not isinstance(replaces, bytes) or len(replaces) not in (0, _HASH_BYTES * 2):
            raise HelloInvalid("a channel hash has 64 bytes")
        return Hello(version, RosterHash(roster_hash), instance, replaces)

    def roster_difference(self, ours: RosterView) -> str:
        """One sentence that names the difference from our roster, or the empty string."""
        if self.roster_hash == ours.hash:
            return ""
        if self.roster_version != ours.version:
            older = "the peer's operator" if self.roster_version < ours.version else "the operator here"
            return f"peer has roster version {self.roster_version}, we have {ours.version}: {older} must update"
        return (
            f"peer has another roster under the same version {ours.version} "
            f"({self.roster_hash[:4].hex()} there, {ours.hash[:4].hex()} here): compare the two files with its operator"
        )
