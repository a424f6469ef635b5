"""Every bound of mpcd, with its unit as the last word of its name (layer 0, no I/O).

One section per package; a bound that an operator may lower is read through the configuration, which checks it against the one here.
`docs/OPERATING.md` lists them all, and a test keeps the two in step.
"""

from __future__ import annotations

from typing import Final

# --------------------------------------------------------------------------------------------- requests and plans
SQL_BYTES_MAX: Final = 4096
SQL_TOKENS_MAX: Final = 1000
PLAN_SECONDS_MAX: Final = 5.0
PLAN_MEMORY_BYTES_MAX: Final = 1 * 2**30
CELLS_MAX: Final = 20_000
"""Cells of one answer: the product of the group keys' domains."""
OUTPUTS_MAX: Final = 64
REQUEST_LIFETIME_SECONDS_MAX: Final = 900.0
CLOCK_SKEW_SECONDS_MAX: Final = 60.0

# --------------------------------------------------------------------------------------------- protocols
VECTOR_ELEMENTS_MAX: Final = 2**24
ROUND_SECONDS_MAX: Final = 30.0
INPUT_OWNERS_MAX: Final = 64
ROWS_PER_OWNER_MAX: Final = 2**32

# --------------------------------------------------------------------------------------------- sessions
REFUSALS_PER_ANSWER_MAX: Final = 200
SESSION_SECONDS_MAX: Final = 300.0
SESSIONS_RUNNING_MAX: Final = 16
SESSION_MEMORY_BYTES_MAX: Final = 4 * 2**30

# --------------------------------------------------------------------------------------------- local API
API_REQUEST_BYTES_MAX: Final = 64 * 2**10
API_RESPONSE_BYTES_MAX: Final = 64 * 2**20
API_NESTING_LEVELS_MAX: Final = 16
API_REQUEST_ITEMS_MAX: Final = 1024
"""Entries of one array or map in a request."""
API_CONNECTIONS_MAX: Final = 64
"""Per socket."""
API_REQUESTS_IN_FLIGHT_MAX: Final = 32
"""Per connection."""
API_HELLO_SECONDS_MAX: Final = 5.0
API_IDLE_SECONDS_MAX: Final = 600.0
API_SEND_SECONDS_MAX: Final = 30.0
API_WATCH_EVENTS_MAX: Final = 64
"""Events that wait for one watcher; one more and the watcher has lagged."""
API_JOBS_MAX: Final = 1024
API_JOB_EVENTS_MAX: Final = 512
API_LEDGER_ENTRIES_MAX: Final = 500
API_CLIENT_SECONDS_MAX: Final = 330.0
"""How long a client waits for one answer; longer than a session may take."""
