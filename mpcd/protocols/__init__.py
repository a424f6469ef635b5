"""Protocols between three compute parties over replicated shares (layer 6, no I/O).

One file per protocol, each with its cost beside it.  A protocol is a coroutine that suspends only through its
`Context`: `exchange` (one round) and `compute` (a kernel).  It is given a context of its own (`ctx.narrow("name")`),
whose step names its message on the wire and keys its shared randomness; a step is used once, so two parties out of step
fail at once instead of mixing values.

Everything is a vector: parallelism is a longer vector, never more tasks.  Control flow depends on public sizes alone.

Security model: one of three compute parties corrupt.  A cheater can add a chosen error to any product (nothing is
learnt by that); what every product and AND was is handed to `Context.defer_check`, every opening waits for
`Context.verify`, and every opening compares the value from one holder with a hash from the other before it is used.  A
session says which security it has: in "semi-honest" `verify` proves nothing.
"""
