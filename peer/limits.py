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

HAVES_PER_MESSAGE_MAX: Final = 4096
"""At most 5 bytes each in msgpack: stays under the header limit."""

PEERS_PER_MESSAGE_MAX: Final = 50
"""As libtorrent's peer exchange: enough to find the swarm, useless as an amplifier."""

REASON_BYTES_MAX: Final = 200
"""Free text of a goodbye or an agent name: one line on a terminal."""

HOST_BYTES_MAX: Final = 253
"""A DNS name's limit."""

WINDOW_MAX: Final = 512
"""Requests that a peer may have open with us at once, and we with it whatever it announces."""

WINDOW_DEFAULT: Final = 256
"""What we announce: 3 s of 64 KiB pieces at 5 MB/s; fast links have larger pieces."""

# --- swarm: rates

RATE_SPAN_S: Final = 3.0
"""Over what time a measured rate is smoothed: long against one piece, short against a choking round."""

RATE_LEAST_SPAN_S: Final = 0.05
"""The first bytes of a link are divided by at least this much time, or they would look infinitely fast."""

LIMIT_QUANTUM_S: Final = 0.05
"""What one grant of a rate limit is worth at most: 1 % of the 5 s over which a limit is exact within 2 %."""

LIMIT_QUANTUM_BYTES_MIN: Final = 2 * KIB
"""A slow limit is not cut finer: the frame header of a chunk would cost more than 2 %."""

LIMIT_BURST_S: Final = 0.05
"""Tokens kept while nobody asks: enough to start at once, too little for a burst that others notice."""

LIMIT_CATCH_UP_S: Final = 0.1
"""Tokens kept while somebody waits, so that a late timer or a busy event loop costs no bandwidth."""

LIMIT_WAKE_S: Final = 0.001
"""Timers finer than this cost more than they smooth; the catch-up above makes good for the rounding."""

# --- swarm: upload

CHUNK_S: Final = 0.075
"""How much of a link's rate one chunk is worth: what a cancel or a control message may have to wait for."""

CHUNK_BYTES_MIN: Final = 16 * KIB
"""Below this the fixed cost of a frame and a system call shows."""

CHUNK_BYTES_MAX: Final = MIB
"""Above this larger chunks measure no faster."""

REPEATS_FREE: Final = 8
"""Pieces that one link may be sent a second time without a question: cancelled and asked again in honesty."""

REPEATS_SHARE: Final = 16
"""Beyond these, one repeat for so many pieces sent: who asks for the same for ever gets nothing."""

PATIENCE_S: Final = 5.0
"""A request that rarer pieces have overtaken for so long is next, or its asker would give us up."""

CHOICE_MAX: Final = 32
"""Oldest requests of a link among which the next answer is chosen: bounds the work for one choice."""

DEFER_S: Final = 0.05
"""When to look again at a link whose second copies wait for another link's first copies."""

DEFER_STALL_S: Final = 1.0
"""A link that has taken nothing for so long keeps nobody waiting, whatever it asks for."""

# --- swarm: choking

CHOKE_ROUND_S: Final = 5.0
"""How often slots are given anew. BitTorrent's 10 s is a fifth of the life of a small swarm on fast links."""

CHOKE_ROUND_EARLY_S: Final = 1.0
"""The same at the beginning, when every second teaches much about the uplink and the others."""

CHOKE_ROUNDS_EARLY: Final = 5
"""Rounds that are so short."""

OPTIMISTIC_S: Final = 10.0
"""How long an optimistic slot stays: two rounds, so that the other side can answer in kind."""

SLOTS_MIN: Final = 4
"""One shaped uplink needs three flows to be 0.955 busy; the fourth tries somebody new."""

SLOTS_FIRST: Final = 40
"""Before the uplink's rate is known. Generous: an origin that serves few at first sets them seconds ahead of
the others, which is never made good (model: 30 peers, 1.015 of the bound with 40, 1.06 with 8)."""

SLOTS_MAX: Final = 100
"""Half of all connections: beyond, every slot is too thin to finish a piece in useful time."""

SLOT_PIECE_S: Final = 0.5
"""A slot should be wide enough to carry a piece in this time, so that pieces can be passed on soon."""

UPLINK_FULL_SHARE: Final = 0.9
"""An uplink that runs at this share of what it can is full; below, another slot is opened."""

PROBE_GAIN_SHARE: Final = 0.05
"""A slot opened to try stays only if the uplink as a whole went faster by this share."""

# --- swarm: known peers

KNOWN_PEERS_MAX: Final = 3000
"""libtorrent's peer list: many times more than a node can dial, 1 MB of memory."""

KNOWN_PER_INFORMANT_MAX: Final = 500
"""What one tracker or one peer may fill of the book: nobody crowds out the others."""

LINKS_MAX: Final = 200
"""Connections of one share (libtorrent's default)."""

LINKS_PER_HOST_MAX: Final = 8
"""Connections from one network address: several users behind one router, not one user many times."""

LINKS_DIALLED_MAX: Final = 60
"""We stop dialling here and leave the rest of LINKS_MAX to those who dial us."""

HALF_OPEN_MAX: Final = 32
"""Dials under way at once: routers and firewalls take more for an attack."""

HALF_OPEN_UNTRUSTED_MAX: Final = 24
"""Of these, to addresses by hearsay: dead ones must not keep those that the user named waiting."""

NEW_DIALS_PER_MINUTE_MAX: Final = 100
"""Dials to addresses by hearsay that never answered: what lies may make us send to a victim."""

BACKOFF_FIRST_S: Final = 1.0
"""Wait after the first failure; doubled after each further one."""

BACKOFF_MAX_S: Final = 300.0
"""Longest wait between two dials of one address."""

BACKOFF_JITTER_SHARE: Final = 0.25
"""Each wait is lengthened by up to this share at random, so that a swarm does not come back in step."""

DIAL_FAILURES_MAX: Final = 5
"""An address by hearsay rests after so many failures until somebody tells of it again, at the earliest after
BACKOFF_MAX_S; one that the user named is tried for ever."""

LINK_PROVEN_S: Final = 30.0
"""A link that lasted so long and broke counts as a first failure, a shorter one as a further failure."""

LINKS_SPARE: Final = 20
"""When fewer connections than this are free, those that serve nobody go."""

BANS_MAX: Final = 1000
"""Remembered bans of each kind for one share; the oldest goes."""

BANNED_NODES_PER_HOST_MAX: Final = 3
"""So many banned nodes at one host, and the host is banned: a new node id costs nothing. One or two may share
a router with honest peers."""

DUPLICATE_GRACE_S: Final = 10.0
"""A link that was silent for so long gives way when the same node connects again."""

PORT_PRIVILEGED_MAX: Final = 1023
"""Addresses by hearsay with a port up to this are not dialled: they are services, not peers."""

# --- relations

RELATIONS: tuple[tuple[bool, str], ...] = (
    (PIECE_BYTES_MAX <= PAYLOAD_BYTES_MAX, "a whole piece must fit into one frame's payload"),
    (PIECES_MAX * 32 < MANIFEST_BYTES_MAX, "the piece hashes of the largest share must fit its manifest"),
    (PIECES_MAX // 8 + 1 <= PAYLOAD_BYTES_MAX, "a bitfield of the largest share must fit into a payload"),
    (SHARE_BYTES_MAX >= PIECES_MAX * PIECE_BYTES_MAX, "the largest piece list must be a legal share"),
    (SHARE_BYTES_MAX < 2**63, "every offset must be a legal file offset"),
    (5 * HAVES_PER_MESSAGE_MAX + 64 <= HEADER_BYTES_MAX, "a full batch of haves must fit into a header"),
    (
        PEERS_PER_MESSAGE_MAX * (HOST_BYTES_MAX + 64) < HEADER_BYTES_MAX,
        "a full peer list must fit a header",
    ),
    (WINDOW_DEFAULT <= WINDOW_MAX, "we must accept the window that we announce"),
    (2 * LIMIT_QUANTUM_S <= LIMIT_CATCH_UP_S, "a limiter must be able to save up for one grant and be late"),
    (LIMIT_BURST_S + LIMIT_QUANTUM_S <= 0.02 * 5, "a limit must be exact within 2 % over 5 s"),
    (CHUNK_BYTES_MIN <= CHUNK_BYTES_MAX, "chunk sizes must be in order"),
    (CHUNK_BYTES_MAX <= PAYLOAD_BYTES_MAX, "a chunk must fit into one frame's payload"),
    (SLOTS_MIN <= SLOTS_FIRST <= SLOTS_MAX <= LINKS_MAX, "slots must be in order and below the connections"),
    (CHOKE_ROUND_EARLY_S <= CHOKE_ROUND_S <= OPTIMISTIC_S, "an optimistic slot must outlive a round"),
    (HALF_OPEN_UNTRUSTED_MAX < HALF_OPEN_MAX, "addresses that the user named must find a free dial"),
    (LINKS_DIALLED_MAX < LINKS_MAX, "those who dial us must find room"),
    (LINKS_SPARE + LINKS_DIALLED_MAX < LINKS_MAX, "spare connections must not come from those that we dial"),
    (KNOWN_PER_INFORMANT_MAX < KNOWN_PEERS_MAX, "no informant may fill the book alone"),
    (NAME_BYTES_MAX + len(".part") <= 255, "a name with our suffix must still be a legal file name"),
)
