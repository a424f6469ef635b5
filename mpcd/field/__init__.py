"""Vectors over F_p, F_q and GF(2), and the native kernels that compute on them (layer 1, no I/O).

`FP` and `FQ` are the production fields; `bits` holds packed words and bit planes; `kernels` says which instruction
set runs; `reference` is the slow exact meaning of it all, and the home of toy fields.
"""

from mpcd.field import bits, kernels
from mpcd.field.base import Buffer, Field, Selection, Vector
from mpcd.field.mersenne import FP, FQ, MersenneField

__all__ = ["FP", "FQ", "Buffer", "Field", "MersenneField", "Selection", "Vector", "bits", "kernels"]
