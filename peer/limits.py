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

FOLDERS_MAX: Final = 200_000
"""Different folders in a share, empty or not. Without it 100,000 short paths of 64 components, 13 MB, would
make six million folders."""

MANIFEST_BYTES_MAX: Final = 32 * MIB
"""Pieces at their limit (16 MB) and files at theirs with ordinary names; held in memory once per share."""

SHARE_BYTES_MAX: Final = 8 * 1024 * GIB
"""PIECES_MAX pieces of PIECE_BYTES_MAX; also keeps every offset far below 2^63."""

HASH_RUN_BYTES: Final = 4 * MIB
"""What a hashing thread reads at once: long enough to hide the hop, short enough for the processor's cache."""

HASH_JOB_BYTES: Final = 16 * MIB
"""What a hashing thread does before it returns: some milliseconds, and a hop costs a twentieth of one."""

HASH_TASKS_MAX: Final = 8
"""Hashing threads: this many outrun every disk."""

HASH_MEMORY_BYTES: Final = 64 * MIB
"""All buffers of one hashing together, whatever the share's size and the machine's cores."""

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

# --- manifest

MANIFEST_ASKS_MAX: Final = 2
"""Peers asked for the manifest at once: one may be slow, and a second copy of it is cheap."""

MANIFEST_PATIENCE_S: Final = 5.0
"""Without a byte of the manifest for this long, another peer is asked too."""

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

# --- store

FOLDERS_OPEN_MAX: Final = 32
"""Folder descriptors kept by one root: a walk through a tree needs its branch, not the whole tree."""

FILES_OPEN_MAX: Final = 64
"""File descriptors kept by one share for reading and writing; the least recently used goes first."""

CHECKPOINT_SECONDS: Final = 5.0
"""At most this much work is fetched again after a power loss; a sync costs milliseconds."""

CHECKPOINT_BYTES: Final = 64 * MIB
"""The same by amount: a fast link must not pile up more that a power loss would take."""

SYNC_EACH_MAX: Final = 16
"""More files and folders than this to sync, and one sync of the whole file system is cheaper."""

JOURNAL_BYTES_MAX: Final = 32 * MIB
"""A journal is rewritten long before; a longer one is not ours, and is not read into memory."""

JOURNAL_GROWTH_BYTES: Final = 256 * KIB
"""A journal that has grown this much over twice its compact form is rewritten: about 20,000 records."""

# --- relations

RELATIONS: tuple[tuple[bool, str], ...] = (
    (2 * KEEPALIVE_S < IDLE_S, "two lost pings must fit into the other side's patience"),
    (OPENING_S < IDLE_S, "a stranger gets less patience than a peer"),
    (PIECE_BYTES_MAX <= PAYLOAD_BYTES_MAX, "a whole piece must fit into one frame's payload"),
    (PIECES_MAX * 32 < MANIFEST_BYTES_MAX, "the piece hashes of the largest share must fit its manifest"),
    (2 * PIECE_BYTES_MAX <= HASH_MEMORY_BYTES, "hashing must be able to read while it hashes"),
    (FOLDERS_MAX >= FILES_MAX, "every file may have a folder of its own"),
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
    (FOLDERS_OPEN_MAX + FILES_OPEN_MAX < 256 // 2, "a share must leave descriptors for peers (macOS: 256)"),
    (FOLDERS_OPEN_MAX * 2 >= PATH_DEPTH_MAX, "most of the deepest path must fit the folder cache"),
    (
        2 * (JOURNAL_GROWTH_BYTES + 2 * (PIECES_MAX // 8 + 8 * FILES_MAX)) <= JOURNAL_BYTES_MAX,
        "the journal of the largest share must stay readable",
    ),
    (NAME_BYTES_MAX + len(".part") <= 255, "a name with our suffix must still be a legal file name"),
)
