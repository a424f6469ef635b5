"""The local API: msgpack-rpc over Unix sockets (layer 12).

Theory of operation.  One connection carries msgpack values, nothing else: requests `[0, msgid, method, [map]]`,
responses `[1, msgid, error, result]` and notifications `[2, method, [map]]`.  The first request is `mpc.v1.Hello`.
A request that takes long is a *job*: `Submit` answers at once with its name, `Watch` streams its events as
notifications, `Result` fetches what it made; the job survives the connection.

    envelope   bytes <-> messages, with limits; no I/O
    types      what crosses: methods, callers, events, errors as maps
    backend    what the daemon must provide
    jobs       the table of jobs and their events that a backend keeps
    methods    which method takes which parameters and needs which role
    sockets    making, taking over and naming the Unix sockets; who is at the other end
    server     connections under trio
    opening    from sealed releases to numbers: every check of the client
    profile    the analyst's directory: key, pinned consortium, socket
    flow       what a client does, as generators without I/O; `client` drives them on plain sockets, `client_trio`
    under trio

A request is authorised by the analyst's signature in it; the Unix peer's uid only decides who may administer the
daemon.
"""
