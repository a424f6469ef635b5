"""The interface of the batch verification: what every product hands over, and what every opening waits for.

A product is correct up to an additive error that its cheater chose and knows.  Nothing is learnt from it until
something opens, so each protocol records its products here (`defer`) and each opening first awaits `verify`.  Sizes are
public and all compute parties record the same relations in the same order, so a verifier may flush a batch inside
`defer` at a public size, with messages of its own.

`verify_batch.Malicious` is the verification.  `SemiHonest` keeps no shares and proves nothing: it counts what a
verifier would have had to prove, for `explain` and for tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from mpcd.sharing import Planes, Replicated

if TYPE_CHECKING:
    from mpcd.protocols.context import Context

Security = Literal["semi-honest", "malicious"]


@dataclass(frozen=True, slots=True)
class Products:
    """z = x * y, element by element: `Replicated` of equal length, or `Planes` of equal shape with AND."""


@dataclass(frozen=True, slots=True)
class InnerProducts:
    """z_g = sum of x * y over the g-th group of `length` neighbours."""

    length: int


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """z (rows, columns) = x (rows, inner) times y (inner, columns), all row-major."""

    rows: int
    inner: int
    columns: int


Relation = Products | InnerProducts | MatrixProduct
PRODUCTS = Products()


class Verifier(Protocol):
    """Proves that all recorded relations hold; one per compute party and session."""

    security: Security

    async def defer(self, ctx: Context, relation: Relation, x: Replicated, y: Replicated, z: Replicated) -> None:
        """Record one relation of field products; may flush a full batch with steps below `ctx`."""

    async def defer_and(self, ctx: Context, x: Planes, y: Planes, z: Planes) -> None:
        """Record one vector of ANDs; may flush a full batch with steps below `ctx`."""

    async def verify(self, ctx: Context) -> None:
        """Prove everything recorded since the last time; `CheatDetected` otherwise.

        `ctx` is the opening's; several openings may share one, so steps below it are numbered by the verifier.
        """


class Counting:
    """What every verifier counts: how much there is to verify; what it is worth is its subclass's to say."""

    __slots__ = ("ands", "products", "records", "verified")

    security: Security

    def __init__(self) -> None:
        self.products = 0
        """Field products since the last `verify`; an inner product counts its length."""
        self.ands = 0
        """64-bit words of ANDs since the last `verify`."""
        self.records: list[str] = []
        """Steps recorded since the last `verify`, in order."""
        self.verified = 0
        """Calls of `verify`, one before each opening."""

    async def defer(self, ctx: Context, relation: Relation, x: Replicated, y: Replicated, z: Replicated) -> None:
        """Count the products."""
        match relation:
            case MatrixProduct(rows, inner, columns):
                assert len(x) == rows * inner
                assert len(y) == inner * columns
                assert len(z) == rows * columns
                self.products += rows * inner * columns
            case InnerProducts(length):
                assert len(x) == len(y) == len(z) * length
                self.products += len(x)
            case Products():
                assert len(x) == len(y) == len(z)
                self.products += len(x)
        self.records.append(ctx.step)

    async def defer_and(self, ctx: Context, x: Planes, y: Planes, z: Planes) -> None:
        """Count the words of ANDs."""
        assert x.a.shape == y.a.shape == z.a.shape
        self.ands += z.a.size
        self.records.append(ctx.step)

    async def verify(self, ctx: Context) -> None:
        """Start the next batch of counts."""
        del ctx
        self.products = 0
        self.ands = 0
        self.records.clear()
        self.verified += 1


class SemiHonest(Counting):
    """Records how much there would be to verify, and verifies nothing."""

    __slots__ = ()

    security: Security = "semi-honest"
