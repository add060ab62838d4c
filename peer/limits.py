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

# --- link

LINK_CHARS_MAX: Final = 32 * KIB
"""A magnet link with every hint at its limit is about 18 KiB; a longer one is an attack on its reader."""

LINK_FIELDS_MAX: Final = 100
"""All our fields at their limits, and room for those of others."""

LINK_TRACKERS_MAX: Final = 16
"""More trackers do not find more peers. Transmission once overflowed on many `tr=` (CVE-2010-1853)."""

LINK_PEERS_MAX: Final = 32
"""Enough to get into a swarm; each of them is dialled."""

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

# --- download

PICKER_BLOCK_PIECES: Final = 2048
"""Pieces that the picker treats as one number; a power of two. Operations on 2048 bits cost little more than
on one; most shares (up to 4 GiB) are one block, the largest has 245."""

PICKER_NEWS_MAX: Final = 4
"""Blocks with news that one choice looks at: a peer that floods haves makes no choice dear."""

PIPELINE_PIECES_START: Final = 2
"""Asked of a link whose rate is not known yet: one to arrive, one so that the link does not fall idle."""

PIPELINE_S: Final = 0.5
"""What is asked of a link, in time at its rate. More than a round trip with room to spare; short, so that
pieces are chosen late and little hangs on a link that turns slow."""

PIPELINE_LATENCY_S_MAX: Final = 1.0
"""Seconds of a link's own latency added to that at most: a satellite's, not a liar's."""

LINK_RATE_MEMORY_S: Final = 3.0
"""A link's rate is an average over this long, of the time in which something was asked of it."""

LINK_RATE_FOLD_S: Final = 0.02
"""Bytes are folded into the average at most this often: progress comes thousands of times a second."""

RANDOM_FIRST_PIECES: Final = 4
"""A newcomer's first pieces are any, not the rarest: rare ones come slowly, and it has nothing to give
yet."""

REQUEST_TIMEOUT_S: Final = 20.0
"""A link from which something was asked and nothing came for so long is silent: its pieces go elsewhere."""

CHOKE_GRACE_S: Final = 1.0
"""After a choke, requests wait so long for their rejection, or for an answer that was under way already."""

REJECT_REST_S: Final = 1.0
"""A link that rejected a request as busy is left alone for so long."""

DOWNLOAD_TICK_S: Final = 1.0
"""How often silent links are looked for."""

ENDGAME_TICK_S: Final = 0.1
"""How often links without work look for pieces that are late elsewhere."""

ENDGAME_ASKS_MAX: Final = 4
"""Links asked for one piece at once, all but the first to begin being withdrawn."""

ENDGAME_TIE_S: Final = 0.1
"""Between asking two links for the same piece: the first gets the time to begin."""

ENDGAME_LOOKS_MAX: Final = 1024
"""Pieces in flight, earliest asked first, that are ranked by lateness: a millisecond's work."""

ENDGAME_LATEST_MAX: Final = 64
"""Of these, the latest that a link without work looks through."""

ENDGAME_TIE_GAIN: Final = 1.25
"""A piece that has not begun is asked of a second link only if that should end it so many times sooner."""

ENDGAME_TAKE_GAIN: Final = 2.5
"""The same for a piece that has begun, because what has come of it is lost. Tuned on the swarm model."""

ENDGAME_LATE_SHARE: Final = 0.8
"""Pieces expected before this share of the latest one's time are left alone: they do not decide the end."""

ENDGAME_WASTE_PERMILLE: Final = 5
"""Of the bytes received, what may be received twice (and one piece): half of the 1 % that is our bar, for the
other half cannot be seen in advance."""

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

CHUNK_BYTES_FIRST: Final = 64 * KIB
"""Chunk of a link whose rate is not known yet."""

CHUNK_BYTES_MAX: Final = MIB
"""Above this larger chunks measure no faster."""

REPEATS_FREE: Final = 8
"""Pieces that one link may be sent a second time without a question: cancelled and asked again in honesty."""

REPEATS_SHARE: Final = 16
"""Beyond these, one repeat for so many pieces sent: who asks for the same for ever gets nothing."""

PATIENCE_S: Final = 5.0
"""A request that rarer pieces have overtaken for so long is next, or its asker would give us up."""

DEFER_S: Final = 0.02
"""When to look again at a link whose second copies wait for another link's first copies."""

DEFER_FULL_SHARE: Final = 0.9
"""Second copies wait only while the uplink runs at this share of its recent best without them."""

# --- swarm: choking

CHOKE_ROUND_S: Final = 5.0
"""How often slots are given anew. BitTorrent's 10 s is half the life of a small swarm on a fast network."""

OPTIMISTIC_S: Final = 10.0
"""How long an optimistic slot stays: two rounds, so that the other side can answer in kind."""

SLOTS_MIN: Final = 4
"""One shaped uplink needs three flows to be 0.955 busy; the fourth tries somebody new."""

SLOTS_FIRST: Final = 8
"""Before the uplink's rate is known (libtorrent's default)."""

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
    (2 * KEEPALIVE_S < IDLE_S, "two lost pings must fit into the other side's patience"),
    (OPENING_S < IDLE_S, "a stranger gets less patience than a peer"),
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
    (
        (LINK_TRACKERS_MAX + LINK_PEERS_MAX) * (HOST_BYTES_MAX + 96) + 3 * NAME_BYTES_MAX + 256
        <= LINK_CHARS_MAX,
        "a link with all its hints must be a legal link",
    ),
    (LINK_TRACKERS_MAX + LINK_PEERS_MAX + 3 <= LINK_FIELDS_MAX, "a link's fields must all fit"),
    (WINDOW_DEFAULT <= WINDOW_MAX, "we must accept the window that we announce"),
    (PICKER_BLOCK_PIECES & (PICKER_BLOCK_PIECES - 1) == 0, "a block of pieces must be a power of two"),
    (PIPELINE_PIECES_START <= WINDOW_DEFAULT, "the window must hold the first requests"),
    (PIPELINE_S + PIPELINE_LATENCY_S_MAX < REQUEST_TIMEOUT_S, "a queue must not look like silence"),
    (ENDGAME_TICK_S <= DOWNLOAD_TICK_S, "the end must not be watched less closely than the middle"),
    (2 * LIMIT_QUANTUM_S <= LIMIT_CATCH_UP_S, "a limiter must be able to save up for one grant and be late"),
    (LIMIT_BURST_S + LIMIT_QUANTUM_S <= 0.02 * 5, "a limit must be exact within 2 % over 5 s"),
    (CHUNK_BYTES_MIN <= CHUNK_BYTES_FIRST <= CHUNK_BYTES_MAX, "chunk sizes must be in order"),
    (CHUNK_BYTES_MAX <= PAYLOAD_BYTES_MAX, "a chunk must fit into one frame's payload"),
    (SLOTS_MIN <= SLOTS_FIRST <= SLOTS_MAX <= LINKS_MAX, "slots must be in order and below the connections"),
    (CHOKE_ROUND_S <= OPTIMISTIC_S, "an optimistic slot must outlive a round"),
    (HALF_OPEN_UNTRUSTED_MAX < HALF_OPEN_MAX, "addresses that the user named must find a free dial"),
    (LINKS_DIALLED_MAX < LINKS_MAX, "those who dial us must find room"),
    (LINKS_SPARE + LINKS_DIALLED_MAX < LINKS_MAX, "spare connections must not come from those that we dial"),
    (KNOWN_PER_INFORMANT_MAX < KNOWN_PEERS_MAX, "no informant may fill the book alone"),
    (NAME_BYTES_MAX + len(".part") <= 255, "a name with our suffix must still be a legal file name"),
)
