"""Every bound of mpcd, with its unit as the last word of its name (layer 0, no I/O).

One section per package; a bound that an operator may lower is read through the configuration, which checks it against
the one here. `docs/OPERATING.md` lists them all, and a test keeps the two in step.
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
ROSTER_BYTES_MAX: Final = 4 * 2**20
PLAN_SOURCES_MAX: Final = 8
PLAN_COHORTS_MAX: Final = 256
PLAN_VALUES_MAX: Final = 512
CORRECTION_CHARACTERS_MAX: Final = 400
"""The reason of a correction."""
TAX_FIELDS_MAX: Final = 8
"""Tax fields that a price line records."""
QUOTE_VALID_SECONDS: Final = 24 * 3600
"""How long an owner keeps to a price that it quoted."""
PRIVACY_ASK_BYTES_MAX: Final = 256
"""What a request says about noise."""
ANSWER_TERMS_BYTES_MAX: Final = 128 * 2**10
"""Price, history and the like in one party's answer to a proposal."""
ATTACHMENTS_BYTES_MAX: Final = 64 * 2**10
"""What goes with a proposal beside the request: the quote that it accepts."""
APPROVAL_WAIT_SECONDS_MAX: Final = 90 * 86_400
"""How long a request may wait for people to approve it."""
APPROVAL_DEADLINE_SECONDS_DEFAULT: Final = 14 * 86_400
"""How long an owner's approvers may take where the policy does not say."""
APPROVERS_PER_REQUEST_MAX: Final = 16
APPROVAL_EXECUTIONS_MAX: Final = 1_000_000
"""How often one approval may serve."""
APPROVAL_REASON_CHARACTERS_MAX: Final = 300
APPROVAL_FORM_BYTES_MAX: Final = 64 * 2**10
APPROVAL_NAME_CHARACTERS_MIN: Final = 6
"""Of a request's digest, in hexadecimal, to name it on the command line."""
APPROVALS_OPEN_PER_ANALYST_MAX: Final = 50
"""Requests of one analyst that wait, or whose results are kept, at one party."""
APPROVALS_OPEN_MAX: Final = 2_000
RULINGS_PER_SUBJECT_MAX: Final = 200
"""Decisions of approvers, kept, about one request or question."""
APPROVAL_KEPT_SECONDS: Final = 30 * 86_400
"""How long requests and results are kept after their end."""
WAITING_AT_ONCE_MAX: Final = 4
"""Waiting requests that one party tries at the same time."""
WAITING_PAUSE_SECONDS: Final = 2.0
"""Between hearing that people have decided and trying a waiting request, so that several decisions make one try."""
WAITING_RETRY_SECONDS_MAX: Final = 300.0
"""Between tries of a waiting request after something that will pass; the pause doubles up to this."""
WAITING_POLL_SECONDS: Final = 3600.0
"""Between tries that nobody asked for."""
WAITING_WATCH_SECONDS_MAX: Final = 25.0
"""How long an analyst's question for news of a waiting request stays open."""
WAITING_MESSAGE_CHARACTERS_MAX: Final = 4000
WAITING_TOLD_MAX: Final = 1_000
"""Requests about which one message between parties says that people have decided."""
WAITING_RESULTS_BYTES_MAX: Final = 2**30
"""Sealed results that wait to be fetched; beyond it no further request may wait."""
PASSPHRASE_CHARACTERS_MIN: Final = 12
PASSPHRASE_BYTES_MAX: Final = 1024
REQUEST_LIFETIME_SECONDS_MAX: Final = 900.0
CLOCK_SKEW_SECONDS_MAX: Final = 60.0

# --------------------------------------------------------------------------------------------- protocols
VECTOR_ELEMENTS_MAX: Final = 2**24
VERIFY_PRODUCTS_MAX: Final = 2**21
"""Field products after which a batch is proved without waiting for an opening."""
VERIFY_AND_WORDS_MAX: Final = 2**18
"""64-bit words of ANDs after which a batch is proved without waiting for an opening."""
NOISE_COMPARISONS_MAX: Final = 2**21
"""Comparisons with thresholds that stand side by side when noise is drawn; more follow one after the other."""
STEPS_PER_SESSION_MAX: Final = 2**20
STEP_BYTES_MAX: Final = 255
ROUND_SECONDS_MAX: Final = 30.0
INPUT_OWNERS_MAX: Final = 64
ROWS_PER_OWNER_MAX: Final = 2**32

# --------------------------------------------------------------------------------------------- sessions
REFUSALS_PER_ANSWER_MAX: Final = 200
SESSION_END_SECONDS_MAX: Final = 30.0
"""How long the last steps of a session may take once its end is decided: entries, and sealed bytes to the proposer."""
RELEASE_SECONDS_MAX: Final = 25.0
"""How long, of those, the proposer waits for the compute parties' sealed bytes."""
ACKNOWLEDGE_RETRY_SECONDS: Final = 2.0
"""How long a recorded party waits for acknowledgements before it asks again."""
STOP_SECONDS_MAX: Final = 5.0
"""How long a stopping daemon waits for its children."""
ABORT_SECONDS_MAX: Final = 2.0
"""How long telling the peers of an abort may take."""
SESSION_SECONDS_MAX: Final = 300.0
SESSIONS_RUNNING_MAX: Final = 16

# --------------------------------------------------------------------------------------------- questions of parties
PEER_QUESTION_BYTES_MAX: Final = 256 * 2**10
"""Payload of one question of a party to another, outside sessions."""
PEER_REPLY_BYTES_MAX: Final = 4 * 2**20
PEER_ANSWER_SECONDS_MAX: Final = 10.0
"""How long a party waits for another's answer, and how long the other works on it."""
PEER_QUESTIONS_AT_ONCE_MAX: Final = 16
"""Questions of one peer that are answered at the same time; more are refused."""
PEER_QUESTIONS_BURST_MAX: Final = 256
PEER_QUESTIONS_PER_SECOND_MAX: Final = 32.0
CALLER_VERBS_BURST_MAX: Final = 192
"""Calls of one local user, no administrator, that may make us ask our peers: a request with all documents fits."""
CALLER_VERBS_PER_SECOND_MAX: Final = 8.0
CALLERS_MAX: Final = 4096
"""Local users whose calls are being counted; the least recently seen is forgotten first."""

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
"""Events that wait for one watcher."""
API_WATCH_SECONDS_MAX: Final = 2.0
"""How long that queue may stay full before the watcher has lagged."""
API_JOBS_MAX: Final = 1024
API_RESULTS_BYTES_MAX: Final = 256 * 2**20
"""Sealed results of finished jobs that are kept; beyond it the oldest are let go."""
API_JOB_EVENTS_MAX: Final = 512
API_LEDGER_ENTRIES_MAX: Final = 500
API_LICENCES_MAX: Final = 1_000
"""In one list; those that end first."""
API_CLIENT_SECONDS_MAX: Final = 330.0
"""How long a client waits for one answer; longer than a session may take."""

# --------------------------------------------------------------------------------------------- identity
REQUEST_BYTES_MAX: Final = 16 * 2**10
"""Canonical bytes of one signed request."""
PURPOSE_CHARACTERS_MAX: Final = 80
CONSORTIUM_CHARACTERS_MAX: Final = 64
RELEASE_BYTES_MAX: Final = 12 * 2**20
"""Plaintext of one sealed release, padding included."""
KEY_FILE_BYTES_MAX: Final = 4096
INQUIRY_BYTES_MAX: Final = 2048
"""Canonical bytes of one signed inquiry about what exists for its analyst."""

# --------------------------------------------------------------------------------------------- governance
POLICY_BYTES_MAX: Final = 4 * 2**20
POLICY_NESTING_LEVELS_MAX: Final = 8
POLICY_CHECK_CHARACTERS_MAX: Final = 50 * 1024
"""Of a policy that is checked through the local socket; `mpcd check` reads larger ones."""
POLICY_ANALYSTS_MAX: Final = 10_000
POLICY_TABLES_MAX: Final = 1_000
POLICY_APPROVERS_MAX: Final = 1_000
POLICY_STEWARDS_MAX: Final = 100
POLICY_COLUMNS_MAX: Final = 2_000
"""Of one table."""
NAME_CHARACTERS_MAX: Final = 128
"""Of an analyst, a table or a column."""
THRESHOLD_PERSONS_MAX: Final = 1_000_000
DOMINANCE_PERSONS_MAX: Final = 8
"""`safe_nk_n`, as far as it is evaluated."""
DOMINANCE_CHOICES_MAX: Final = 4_096
"""Comparisons of one sum in one cell: ways to choose the largest persons from the owners' lists."""
GRANULARITY_MAX: Final = 1_000_000_000
"""Largest step in which a policy may publish a number, in the column's unit."""
BUDGET_QUERIES_MAX: Final = 1_000_000_000
BUDGET_RHO_MAX: Final = 1_000
"""Privacy loss (zCDP) that a policy may grant."""
BUDGET_PERIOD_DAYS_MAX: Final = 3_660
RATE_REQUESTS_MAX: Final = 1_000_000
"""That a policy may accept from one analyst in an hour or a day."""
COLUMN_CUTS_MAX: Final = 4_096
"""Places at which one request may cut one column that is published in steps."""
PRIVACY_EPSILON_MAX: Final = 20
"""Of one answer under differential privacy."""
PRIVACY_DELTA_INVERSE_MIN: Final = 100
"""Its delta is at most one in so many."""
PRIVACY_ROWS_PER_PERSON_MAX: Final = 1_000_000
AMOUNT_MINOR_UNITS_MAX: Final = 10**15
"""Of one amount of money, in the currency's smallest unit; sums of a ledger's lifetime stay within 64 bits."""
FREE_QUERIES_MAX: Final = 10**9
"""That a price plan may grant, in a month or in all."""
LICENCE_BYTES_MAX: Final = 60 * 2**10
"""One agreement or licence file, signatures included; it fits into one request of the API."""
OFFER_BYTES_MAX: Final = 40 * 2**10
"""Without signatures."""
LICENCE_DAYS_MAX: Final = 36_525
"""Term of a licence, window of a quota, time that a duty has: a hundred years."""
OFFERS_OPEN_MAX: Final = 1_000
"""Of one owner, open or waiting for signatures."""
OFFERS_PENDING_MAX: Final = 100
"""Of pools, that others have sent and that wait for signatures here."""
LICENCES_PER_ANALYST_MAX: Final = 64
"""In force at one owner at once."""
OFFER_ANALYSTS_MAX: Final = 1_000
"""Keys to whom one offer may be addressed."""
REVOCATION_REASON_CHARACTERS_MAX: Final = 400

# --------------------------------------------------------------------------------------------- access of analysts
ACCESS_REQUEST_BYTES_MAX: Final = 32 * 2**10
"""Canonical bytes of one signed request for access, without its documents."""
ACCESS_REASON_BYTES_MAX: Final = 4096
ACCESS_TABLES_MAX: Final = 100
ACCESS_REQUEST_SECONDS_MAX: Final = 90 * 86_400.0
"""Age at which a request for access is no longer taken, and one that nobody decided is forgotten."""
ACCESS_PENDING_MAX: Final = 500
"""Requests for access that wait at one owner for a decision; beyond that new ones are refused."""
ACCESS_REQUESTS_PER_CALLER_PER_DAY_MAX: Final = 50
"""Taken by way of one local user or one other party."""
EVIDENCE_FILES_MAX: Final = 8
EVIDENCE_BYTES_MAX: Final = 2**20
"""One document of a request for access."""
EVIDENCE_CHUNK_BYTES_MAX: Final = 48 * 2**10
EVIDENCE_KEPT_BYTES_MAX: Final = 256 * 2**20
"""Documents of all requests that wait at one owner."""

HISTORY_DEFINITIONS_MAX: Final = 1_000
"""Earlier questions about one table that an owner compares new ones with."""
HISTORY_LISTED_MAX: Final = 1_500
"""Of those about any of a question's tables, the newest."""
HISTORY_DAYS_MIN: Final = 30
"""Younger ones never make room for new ones."""
HISTORY_DEFINITION_BYTES_MAX: Final = 64 * 2**10
HISTORY_PAIRS_MAX: Final = 2**17
"""Pairs of a set of one question and a set of an earlier one; a question with more is refused."""
HISTORY_CACHE_BYTES_MAX: Final = 256 * 2**20
"""Sets of rows that one engine child remembers between questions."""

# --------------------------------------------------------------------------------------------- store
LEDGER_CONTENT_BYTES_MAX: Final = 256 * 2**10
"""Readable content of one ledger entry."""
LEDGER_ENTRIES_PER_READ_MAX: Final = 10_000
DEBITS_PER_SESSION_MAX: Final = 1_000
STORE_BUSY_SECONDS_MAX: Final = 5.0
REQUESTS_PER_KEY_BURST_MAX: Final = 2_000
"""Requests of one accepted analyst that are put on the record in a short time ..."""
REQUESTS_PER_KEY_PER_HOUR_MAX: Final = 7_200
"""... and steadily."""
STRANGERS_BURST_MAX: Final = 60
"""Requests of all other keys together, likewise."""
STRANGERS_PER_HOUR_MAX: Final = 60
LEDGER_REASON_CHARACTERS_MAX: Final = 400
"""Of a reason in a ledger entry."""
LEDGER_RETENTION_YEARS_MIN: Final = 6
"""How long readable content is kept unless an erasure says otherwise; `retention_years` may only be more."""
SEGMENT_ENTRIES_MAX: Final = 100_000
"""Entries of one archived file."""
HEADS_INTERVAL_SECONDS: Final = 600.0
"""How often a party shows the head of its ledger to its peers where no session gives occasion."""
HEADS_SPACING_SECONDS: Final = 1.0
"""Between two exchanges of heads, however many sessions end."""
HEADS_HEADERS_MAX: Final = 4096
"""Entries that one message proves; a longer absence takes several."""
LOSSES_PER_PARTY_MAX: Final = 16
"""Admitted losses that a party takes from one peer; further ones need its operator."""
LEDGER_CHECK_WAIT_SECONDS_MAX: Final = 10.0
"""How long a start waits for the check of the whole ledger before it goes on in the background."""

# --------------------------------------------------------------------------------------------- sources (data children)
CHILD_REQUEST_BYTES_MAX: Final = 4 * 2**20
CHILD_REPLY_BYTES_MAX: Final = 64 * 2**20
CHILD_START_SECONDS_MAX: Final = 20.0
CHILD_USES_MAX: Final = 1000
CHILD_IDLE_SECONDS_MAX: Final = 600.0
"""An idle engine child gives its memory back after this; the next request starts another."""
STATEMENT_BYTES_MAX: Final = 2**20
"""Generated SQL of one request."""
ENGINE_SECONDS_MAX: Final = 120.0
ENGINE_MEMORY_BYTES_MAX: Final = 8 * 2**30
"""Address space of an engine child; DuckDB's own limit is set to a quarter."""
IMPORT_SECONDS_MAX: Final = 3600.0
IMPORT_MEMORY_BYTES_MAX: Final = 32 * 2**30
IMPORT_DATABASE_BYTES_MAX: Final = 4 * 2**30
"""DuckDB's own limit during an import; beyond it sorts spill to disk."""
IMPORT_EXAMPLES_MAX: Final = 3
"""Examples per column and reason, shown to the operator alone."""
OPT_OUT_IDS_MAX: Final = 1_000_000
OPT_OUT_ID_CHARACTERS_MAX: Final = 200
OPT_OUT_IDS_PER_CALL_MAX: Final = 256
"""Ids that one call of the API adds to the opt-out list or takes off it; more go in pieces."""
OVERLAP_POSITIONS: Final = 2**18
"""Places of the bitmaps of an overlap check; a power of two."""
OVERLAP_CHECKS_PER_DAY_MAX: Final = 4
"""Overlap checks in which an owner takes part for one of its tables in a day, whoever asks."""
DATA_GENERATIONS_MAX: Final = 4
"""Sets of data versions that running sessions may still answer from at once, the published one included."""
PROPOSED_LEVELS_MAX: Final = 200
PROPOSED_DECIMALS_MAX: Final = 9

# --------------------------------------------------------------------------------------------- noise
NOISE_MESSAGE_BYTES_MAX: Final = 65_535
"""The specification's own limit for a handshake or transport message, tags included."""

# --------------------------------------------------------------------------------------------- wire
RECORD_BYTES_MAX: Final = 65_535
"""A whole record on the wire: header, ciphertext and tag."""
REKEY_RECORDS_MAX: Final = 2**20
"""Records under one key, at most 64 GiB; both ends count, and must have the same number."""
WRITE_BUFFER_BYTES_MAX: Final = 2**20
READ_BUFFER_BYTES_MAX: Final = 2**20
STREAMS_UNFINISHED_MAX: Final = 256
"""Session messages of one channel that have begun and not ended."""

# --------------------------------------------------------------------------------------------- net
HANDSHAKE_SECONDS_MAX: Final = 5.0
HANDSHAKE_MESSAGE_BYTES_MAX: Final = 4096
HALF_OPEN_HANDSHAKES_MAX: Final = 64
HANDSHAKES_PER_ADDRESS_BURST_MAX: Final = 32
HANDSHAKES_PER_ADDRESS_PER_SECOND_MAX: Final = 4.0
HANDSHAKE_ADDRESSES_MAX: Final = 4096
"""Addresses whose handshakes are being counted; the least recently seen is forgotten first."""
CHANNEL_SECONDS_MAX: Final = 3600.0
"""Age at which the dialler makes a new channel and lets the old one drain."""
CHANNEL_DRAIN_SECONDS_MAX: Final = 600.0
CHANNEL_PING_SECONDS_MAX: Final = 10.0
"""Silence after which a channel asks whether the peer is still there."""
CHANNEL_SILENCE_SECONDS_MAX: Final = 25.0
"""Silence after which a channel is lost."""
RECONNECT_SECONDS_MAX: Final = 30.0
LINK_EARLY_BYTES_MAX: Final = 64 * 2**10
"""What a role may send to another before the receiver has asked for anything."""
LINK_WINDOW_BYTES_MAX: Final = 8 * 2**20
"""What a role may send to another beyond the messages that the receiver waits for."""
LINK_MESSAGE_BYTES_MAX: Final = 2**28
EARLY_SESSIONS_MAX: Final = 64
"""Sessions per peer for which messages are held although we have not opened them yet."""
EARLY_LINKS_MAX: Final = 256
"""Links per peer, over all those sessions."""
CONTROL_MESSAGE_BYTES_MAX: Final = 16 * 2**20
CONTROL_WINDOW_BYTES_MAX: Final = 20 * 2**20
"""Control messages of one peer that are sent but not handled yet."""
INLINE_KERNEL_BYTES_MAX: Final = 128 * 2**10
"""Kernels over fewer bytes run on the event loop; above it in a worker thread."""
