"""Replicated and binary shares: values of one party, and the algebra that needs no message (layer 5, no I/O).

A secret x is the sum (over a field) or the XOR (over bits) of three *components* x_0, x_1, x_2.  P_i holds two of them,
a = x_i and b = x_{i+1} (indices mod 3), so that each component has two holders, P_{i-1} and P_i for x_i, and each party
misses one.  Everything here is linear: both holders of a component do the same to it, and the sharing stays replicated.

Shares are secrets: no content in `repr`, no `==`, no truth value, no pickling, no mutation.  What is public about them
(field, length, width) may be read.  To learn a value there is only `mpcd.protocols.opening`, which verifies first.

Rejected: Z_2^64 (checks need an extension ring), a class per width (everything is a vector of planes), operators that
send messages (a `*` that costs a round hides what a reader must see).
"""

from mpcd.sharing.planes import Planes
from mpcd.sharing.replicated import Replicated

__all__ = ["Planes", "Replicated"]
