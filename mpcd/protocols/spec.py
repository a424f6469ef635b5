"""The public shape of a shared vector: the bytes of a component on the wire, and how it is checked on arrival."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mpcd.field import Buffer, Field, Vector
from mpcd.ids import Role
from mpcd.protocols.context import OuterContext
from mpcd.protocols.cost import WORD_BYTES, field_bytes, words_for
from mpcd.sharing import Planes, Replicated


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A vector of `count` elements of a field."""

    field: Field
    count: int

    @property
    def size_bytes(self) -> int:
        """Bytes of one component."""
        return field_bytes(self.field, self.count)

    def decode(self, ctx: OuterContext, sender: Role, buffer: Buffer) -> Vector:
        """A received component, checked."""
        return ctx.decode_field(self.field, sender, buffer, self.count)

    def add(self, u: Vector, v: Vector) -> Vector:
        """Sum of two components."""
        return self.field.add(u, v)

    def subtract(self, u: Vector, v: Vector) -> Vector:
        """Difference of two vectors."""
        return self.field.sub(u, v)


@dataclass(frozen=True, slots=True)
class BitsSpec:
    """A vector of `count` bit strings of `width` bits."""

    width: int
    count: int

    @property
    def size_bytes(self) -> int:
        """Bytes of one component."""
        return self.width * words_for(self.count) * WORD_BYTES

    def decode(self, ctx: OuterContext, sender: Role, buffer: Buffer) -> Vector:
        """A received component, checked."""
        return ctx.decode_planes(sender, buffer, (self.width, words_for(self.count)), self.count)

    def add(self, u: Vector, v: Vector) -> Vector:
        """Sum of two components."""
        return np.bitwise_xor(u, v)

    def subtract(self, u: Vector, v: Vector) -> Vector:
        """Difference of two vectors, which for bits is the sum."""
        return np.bitwise_xor(u, v)


Spec = FieldSpec | BitsSpec


def spec_of(x: Replicated | Planes) -> Spec:
    """The public shape of a sharing."""
    if isinstance(x, Replicated):
        return FieldSpec(x.field, len(x))
    return BitsSpec(x.width, x.count)
