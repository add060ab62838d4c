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

# --- transport

UNSENT_S: Final = 0.02
"""What the kernel holds of a stream beyond what the network has taken, in time at the stream's rate. The
writer chooses what to send when there is room again: so far does its choice lie behind."""

UNSENT_BYTES_MIN: Final = 16 * KIB
"""As trio's own streams: less would leave a slow link idle between two wake-ups."""

UNSENT_BYTES_MAX: Final = 1 * MIB
"""More saves nothing even at memory speed."""

UNSENT_BYTES: Final = 64 * KIB
"""Before the rate is known."""

UNSENT_SAMPLE_S: Final = 0.1
"""How often a stream's rate is looked at."""

TURN_BYTES: Final = 1 * MIB
"""A stream that never has to wait lets other tasks run after this much: about a millisecond."""

TURN_CALL_BYTES: Final = 8 * KIB
"""What a call counts beside its bytes, so that many tiny reads give way too."""

COPY_BYTES: Final = 128 * KIB
"""Buffer for sending a file where `sendfile` cannot: large enough that a call's cost does not matter, small
enough to stay in the processor's cache."""

CLOSE_NOTIFY_S: Final = 1.0
"""How long a close waits to tell the other side so: it may not be reading, and we are leaving."""

ACCEPT_RETRY_S: Final = 0.1
"""Pause after an accept that failed for lack of descriptors or memory, as `trio.serve_listeners`."""

LISTEN_TRIES_MAX: Final = 16
"""Free ports tried until one is free on every address at once."""

# --- identity

KEY_FILE_BYTES_MAX: Final = 4 * KIB
"""A node's key file; an Ed25519 key in PEM takes 119 bytes."""

SWARM_SECRET_BYTES_MIN: Final = 8
"""A shorter secret of a private swarm is guessed in no time, whatever a guess costs."""

SWARM_SECRET_BYTES_MAX: Final = 4 * KIB
"""A key file by mistake, a disk image by accident."""

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
    (
        UNSENT_BYTES_MIN <= UNSENT_BYTES <= UNSENT_BYTES_MAX,
        "a stream begins with a queue that it could also be given later",
    ),
    (UNSENT_S < UNSENT_SAMPLE_S, "a rate is measured over longer than the queue that it sets"),
    (TURN_CALL_BYTES < TURN_BYTES, "a single call must not end a turn"),
    (NAME_BYTES_MAX + len(".part") <= 255, "a name with our suffix must still be a legal file name"),
)
