"""Every limit, in one place, with its unit and its reason; the relations that must hold stand at the end.

Names end in their unit; counts end in MAX or MIN. A test checks each entry of `RELATIONS`.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# --- content

PIECE_BYTES_MIN: Final = 16 * KIB
"""Smaller pieces would make the manifest and the request traffic dearer than the data."""

PIECE_BYTES_MAX: Final = 16 * MIB
"""A piece is held in memory while it arrives; larger ones would break the memory bar."""

PIECES_MAX: Final = 500_000
"""Keeps the manifest under its own limit: 32 bytes a piece."""

FILES_MAX: Final = 100_000
"""A manifest with more is an attack on the file system or wants to be an archive."""

MANIFEST_BYTES_MAX: Final = 32 * MIB
"""Pieces at their limit (16 MB) and files at theirs with ordinary names; held in memory once per share."""

SHARE_BYTES_MAX: Final = 8 * 1024 * GIB
"""PIECES_MAX pieces of PIECE_BYTES_MAX; also keeps every offset far below 2^63."""

# --- names

NAME_BYTES_MAX: Final = 240
"""One path component in UTF-8. File systems end at 255; the rest is room for suffixes such as `.part`."""

PATH_DEPTH_MAX: Final = 64
"""Components of a path: deeper trees exhaust descriptors and patience, not use."""

PATH_BYTES_MAX: Final = 2048
"""All components of a path together: PATH_MAX is 4096, and the target folder needs room."""

# --- wire

PROTOCOL_VERSION: Final = 1

FRAME_PREFIX_BYTES: Final = 4
"""A frame begins with the length of its header, unsigned, big-endian."""

HEADER_BYTES_MAX: Final = 64 * KIB
"""A msgpack header. The largest honest one is a batch of haves or peers, a few KiB."""

PAYLOAD_BYTES_MAX: Final = 16 * MIB
"""Raw bytes after a header: at most one whole piece."""

HEADER_FIELDS_MAX: Final = 64
"""Fields of a header; also of any map in an unknown field."""

HEADER_TEXT_BYTES_MAX: Final = 4 * KIB
"""Any text or bytes in a header, known field or not: nothing in a header is bulk."""

HAVES_PER_MESSAGE_MAX: Final = 1024
"""Also the longest array that a header may carry. msgpack allocates an array when it reads its length, before
its elements, and arrays nest 1024 deep: with 1024 a hostile 3 KiB header costs 8 MiB and 5 ms, with 4096 four
times that (measured)."""

PEERS_PER_MESSAGE_MAX: Final = 50
"""As libtorrent's peer exchange: enough to find the swarm, useless as an amplifier."""

REASON_BYTES_MAX: Final = 200
"""Free text of a goodbye or an agent name: one line on a terminal."""

HOST_BYTES_MAX: Final = 253
"""A DNS name's limit."""

FRAME_READ_BYTES: Final = 4 * KIB
"""Read at once where a header is due: dozens of small frames, but of a payload (which goes to its own buffer)
no more than this is read early and must be copied."""

SCRATCH_BYTES: Final = 64 * KIB
"""Where payload goes that nobody wants: held only while it passes."""

BUFFER_POOL_BYTES_MAX: Final = 64 * MIB
"""Piece buffers kept for reuse: 64 links with 1 MiB pieces. More in use is possible, more kept is not."""

REQUEST_ID_MAX: Final = 2**32 - 1
"""Request ids only grow, so this is also the number of requests in a connection's life."""

PINGS_OPEN_MAX: Final = 4
"""Pings without their pong, on each side: keep-alive needs one, and answers to a flood would pile up."""

WINDOW_ANNOUNCED_MAX: Final = 65535
"""A window that a hello may name. We use at most WINDOW_MAX of it."""

WINDOW_MAX: Final = 512
"""Requests that a peer may have open with us at once, and we with it whatever it announces."""

WINDOW_DEFAULT: Final = 256
"""What we announce: 3 s of 64 KiB pieces at 5 MB/s; fast links have larger pieces."""

# --- connections

KEEPALIVE_S: Final = 45.0
"""After this long without a word either way, a ping: well inside the other side's patience and a NAT's."""

IDLE_S: Final = 120.0
"""A peer that says nothing, or takes nothing, for this long is gone (half-open connections)."""

GOODBYE_GRACE_S: Final = 1.0
"""How long the other side may take to take our goodbye."""

OPENING_S: Final = 10.0
"""From a new connection to the other side's hello: a silent stranger holds a slot no longer."""

DIAL_S: Final = 15.0
"""From the first packet to a connection: three retransmissions of a SYN."""

OUTBOX_BYTES_MAX: Final = 1 * MIB
"""Small messages waiting for a peer that does not read: more than any honest burst of them."""

TICK_S: Final = 0.5
"""How often a swarm looks for what is overdue."""

# --- tracker: the registry

SWARMS_MAX: Final = 100_000
"""Swarms that a tracker keeps. An almost empty one costs about 1 KiB; see `MEMBERS_MAX` for the sum."""

SWARM_MEMBERS_MAX: Final = 100_000
"""Members of one swarm. Answers are random samples: a larger swarm gains nothing by being listed whole."""

MEMBERS_MAX: Final = 200_000
"""Entries in all swarms together: with the swarms about 0.3 GB when everything is full."""

MEMBERS_PER_ADDRESS_MAX: Final = 16_384
"""Entries of one IPv4 address or IPv6 /64: several daemons with a thousand shares behind one address
translation, while one host alone never fills the table."""

MEMBERS_PER_NODE_MAX: Final = 4096
"""Swarms that one node is listed in: a daemon with a thousand shares, with room."""

SWARM_MEMBERS_PER_ADDRESS_MAX: Final = 256
"""Entries of one address in one swarm: a classroom behind one address translation. One host can invent this
many neighbours and no more; those beyond it are still told whom to dial."""

SWARM_EVICTION_SAMPLE: Final = 8
"""Swarms that are looked at when one must go: the smallest of them, so practically never a busy one."""

ANNOUNCE_INTERVAL_S_MIN: Final = 60
"""How often a member reports to a quiet tracker; also how long a restarted tracker knows too little."""

ANNOUNCE_INTERVAL_S_MAX: Final = 1800
"""A busy tracker asks for no longer silence than this, as BitTorrent trackers do."""

ANNOUNCES_PER_S_TARGET: Final = 250
"""The interval grows with the number of members so that they report no faster than this in all: about a
quarter of one core."""

MEMBER_INTERVALS: Final = 2.5
"""A member is forgotten after this many of the intervals that it was told: one lost announce is forgiven."""

EXPIRY_GRAIN_S: Final = 8.0
"""Members whose time ends within the same grain leave the table together."""

EXPIRIES_PER_CALL_MAX: Final = 512
"""Entries that are dropped in one go: about a millisecond, so that answering is never held up."""

# --- tracker: the conversation

TRACKER_CONNECTIONS_MAX: Final = 512
"""Connections at once: half of the usual limit of 1024 descriptors. An exchange lasts milliseconds."""

TRACKER_CONNECTIONS_PER_ADDRESS_MAX: Final = 64
"""Of these from one address; more wait their turn, and the caller's back-off is a second."""

TRACKER_DESCRIPTORS_RESERVED: Final = 32
"""Of the process's descriptors, kept from connections: listeners, the event loop, the next accept."""

TRACKER_REQUEST_S: Final = 10.0
"""From a connection (or its last answer) to a whole announce: who is slow or silent loses the slot."""

TRACKER_HANDSHAKE_S: Final = 10.0
"""For the transport's handshake on an accepted connection."""

TRACKER_ANSWER_S: Final = 10.0
"""For the other side to take an answer of a few KiB."""

TRACKER_EXCHANGES_MAX: Final = 64
"""Announces on one connection; then it is closed, so that no connection is for ever."""

TRACKER_GRACE_S: Final = 0.5
"""What a stopping tracker gives to answers that are on their way."""

UNKNOWN_MESSAGES_MAX: Final = 16
"""Messages of unknown kind that are skipped in a row: a newer version sends a few, a flood is not one."""

TRACKER_EXCHANGE_S: Final = 30.0
"""A peer's patience with one tracker, from the dial to the answer."""

TRACKER_ANSWER_PEERS_WANTED: Final = 50
"""Peers that we ask a tracker for: a full message."""

TRACKER_REPORT_S_MIN: Final = 30.0
"""We report no more often than this when all is well, whatever a tracker asks for."""

TRACKER_REPORT_S_MAX: Final = 1800.0
"""And no less often: a tracker that asks for silence for a year has lost its mind."""

TRACKER_BACKOFF_S_MIN: Final = 1.0
"""Pause after a tracker's first failure; it doubles with each further one."""

TRACKER_BACKOFF_S_MAX: Final = 300.0
"""A tracker that was down for long is found again within five minutes."""

TRACKER_MORE_S_MIN: Final = 5.0
"""Least pause between an answer and the next announce when peers are needed; doubles while they still are."""

TRACKER_MORE_S_MAX: Final = 60.0
"""A transfer that waits for its first source looks at least this often."""

TRACKER_STOP_S: Final = 1.0
"""What saying `stopped` may cost at the end; a tracker that misses it forgets us by itself."""
# --- transport

UNSENT_BYTES: Final = 128 * KIB
"""What the kernel holds of a stream beyond what the network has taken. The writer chooses what to send when
there is room again, so its choice lies this far behind: 13 ms at 80 Mbit/s. Much less costs bulk speed."""

TURN_BYTES: Final = 1 * MIB
"""A stream that never has to wait lets other tasks run after this much: about a millisecond."""

TURN_CALL_BYTES: Final = 8 * KIB
"""What a call counts beside its bytes, so that many tiny reads give way too."""

COPY_BYTES: Final = 128 * KIB
"""Buffer for sending a file where `sendfile` cannot: large enough that a call's cost does not matter, small
enough to stay in the processor's cache."""

ACCEPT_RETRY_S: Final = 0.1
"""Pause after an accept that failed for lack of descriptors or memory, as `trio.serve_listeners`."""

LISTEN_TRIES_MAX: Final = 16
"""Free ports tried until one is free on every address at once."""

# --- relations

RELATIONS: tuple[tuple[bool, str], ...] = (
    (2 * KEEPALIVE_S < IDLE_S, "two lost pings must fit into the other side's patience"),
    (OPENING_S < IDLE_S, "a stranger gets less patience than a peer"),
    (PIECE_BYTES_MAX <= PAYLOAD_BYTES_MAX, "a whole piece must fit into one frame's payload"),
    (PIECES_MAX * 32 < MANIFEST_BYTES_MAX, "the piece hashes of the largest share must fit its manifest"),
    (PIECES_MAX // 8 + 1 <= PAYLOAD_BYTES_MAX, "a bitfield of the largest share must fit into a payload"),
    (SHARE_BYTES_MAX >= PIECES_MAX * PIECE_BYTES_MAX, "the largest piece list must be a legal share"),
    (SHARE_BYTES_MAX < 2**63, "every offset must be a legal file offset"),
    (
        max(REASON_BYTES_MAX, HOST_BYTES_MAX, 64) <= HEADER_TEXT_BYTES_MAX,
        "every known text must fit a header",
    ),
    (PEERS_PER_MESSAGE_MAX <= HAVES_PER_MESSAGE_MAX, "a peer list must pass as an array of a header"),
    (WINDOW_MAX <= WINDOW_ANNOUNCED_MAX, "we must be able to announce what we accept"),
    (FRAME_READ_BYTES <= HEADER_BYTES_MAX, "a read for a header is at most a header"),
    (5 * HAVES_PER_MESSAGE_MAX + 64 <= HEADER_BYTES_MAX, "a full batch of haves must fit into a header"),
    (
        PEERS_PER_MESSAGE_MAX * (HOST_BYTES_MAX + 64) < HEADER_BYTES_MAX,
        "a full peer list must fit a header",
    ),
    (WINDOW_DEFAULT <= WINDOW_MAX, "we must accept the window that we announce"),
    (TURN_CALL_BYTES < TURN_BYTES, "a single call must not end a turn"),
    (NAME_BYTES_MAX + len(".part") <= 255, "a name with our suffix must still be a legal file name"),
    (SWARM_MEMBERS_MAX <= MEMBERS_MAX, "one swarm alone must fit into the table"),
    (SWARMS_MAX <= MEMBERS_MAX, "a swarm has at least one member"),
    (MEMBERS_PER_NODE_MAX <= MEMBERS_PER_ADDRESS_MAX, "a node's entries must fit its address"),
    (4 * MEMBERS_PER_ADDRESS_MAX < MEMBERS_MAX, "one address alone must leave room for others"),
    (MEMBER_INTERVALS >= 2, "one lost announce must be forgiven"),
    (EXPIRY_GRAIN_S < ANNOUNCE_INTERVAL_S_MIN, "expiry must be finer than what it measures"),
    (
        MEMBERS_MAX / ANNOUNCES_PER_S_TARGET <= ANNOUNCE_INTERVAL_S_MAX,
        "a full tracker must be able to slow its members down enough",
    ),
    (TRACKER_REPORT_S_MIN <= ANNOUNCE_INTERVAL_S_MIN, "our tracker's shortest interval must be obeyed"),
    (ANNOUNCE_INTERVAL_S_MAX <= TRACKER_REPORT_S_MAX, "our tracker's longest interval must be obeyed"),
    (
        4 * TRACKER_CONNECTIONS_PER_ADDRESS_MAX <= TRACKER_CONNECTIONS_MAX,
        "one address alone must leave connections for others",
    ),
    (
        TRACKER_MORE_S_MAX + TRACKER_BACKOFF_S_MAX < MEMBER_INTERVALS * TRACKER_REPORT_S_MAX,
        "a tracker is asked again before it forgets us",
    ),
    (TRACKER_ANSWER_PEERS_WANTED <= PEERS_PER_MESSAGE_MAX, "we must not ask for more than a message holds"),
)
