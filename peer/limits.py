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

HASH_RUN_BYTES: Final = 2 * MIB
"""What a hashing thread reads at once: it is hashed twice, and the second time should find it in the cache
(measured: 1 to 4 MiB take equal time, 8 MiB a tenth more)."""
HASH_AHEAD_BYTES: Final = 16 * MIB
"""How far ahead of a hashing thread the disk is asked to read: several threads in one file look like random
reading to the kernel, which then does not read ahead itself (measured on a cold file: half the time)."""

CACHED_BYTES_PER_S_MIN: Final = 2 * GIB
"""Reading slower than this takes a disk; a copy from the page cache runs at 8 GB/s."""

HASH_JOB_S: Final = 0.05
"""How long hashing threads work before they are called back: a progress bar does not stutter, and the
hops do not show. Short jobs cost: each may wake up on another core (measured: a tenth with 15 ms)."""

HASH_JOB_BYTES: Final = 256 * MIB
"""The same by amount, for workers without threads, which cannot be called back."""

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

HEADER_FIELDS_MAX: Final = 64
"""Fields of a header; also of any map in an unknown field."""

HEADER_TEXT_BYTES_MAX: Final = 4 * KIB
"""Any text or bytes in a header, known field or not: nothing in a header is bulk."""

HAVES_PER_MESSAGE_MAX: Final = 256
"""Also the longest array that a header may carry. msgpack allocates an array when it reads its length, before
its elements, and arrays nest 1024 deep: with 256 a hostile 3 KiB header costs 2 MiB and 1 ms, with 4096 it
would be 32 MiB and 20 ms (measured). A burst of more haves goes in more messages."""

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

BUFFER_UNTOUCHED_BYTES_MIN: Final = 256 * KIB
"""From here on a new buffer is taken from the system page by page, as it is written to: 200 peers that each
announce a manifest of 32 MiB and send a byte of it would else take 6 GiB."""

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

# --- manifest

MANIFESTS_KEPT_MAX: Final = 256
"""Manifests kept in the home for `inspect` and `verify`; the oldest go first."""

MANIFEST_ASKS_MAX: Final = 2
"""Peers asked for the manifest at once: one may be slow, and a second copy of it is cheap."""

MANIFEST_PATIENCE_S: Final = 1.0
"""Without MANIFEST_PROGRESS_BYTES of the manifest for this long, more peers are asked: as many again as were
slow, so that a crowd of them is got through in a few steps."""

MANIFEST_PROGRESS_BYTES: Final = 16 * KIB
"""A byte now and then is no progress. Most manifests are smaller, and should be here in that time."""

MANIFEST_HELD_BYTES_MAX: Final = 4 * MANIFEST_BYTES_MAX
"""Of answers that are not whole yet, from all who were asked. Honest ones are whole within moments or small;
who sends most of the longest manifest and stops would hold its memory for as long as the link stands."""

# --- connections

KEEPALIVE_S: Final = 45.0
"""After this long without a word of ours, a ping: well inside the other side's patience and a NAT's."""

IDLE_S: Final = 120.0
"""A peer that says nothing, or takes nothing, for this long is gone (half-open connections)."""

TAKING_BYTES_PER_S: Final = KIB
"""What is written at once is given so much more time: a chunk is as long as the link was fast when it was
chosen (CHUNK_S), and a link that turns slow meanwhile is not gone. Who only will not read could as well read
as little as this."""

GOODBYE_GRACE_S: Final = 1.0
"""How long the other side may take to take our goodbye."""

OPENING_S: Final = 10.0
"""From a new connection to the other side's hello: a silent stranger holds a slot no longer."""

GREETINGS_MAX: Final = 256
"""Accepted connections that have not said hello yet: 10 MB. With GREETINGS_PER_S each keeps its place for
more than a second whatever the crowd: enough for two round trips around the world."""

GREETINGS_PER_S: Final = 200
"""Handshakes that we begin as the accepting side, in all: about a sixth of a core."""

GREETINGS_BURST: Final = 512
"""So many at once after a quiet time: a share's whole swarm may come back together."""

GREETINGS_PER_NETWORK_MAX: Final = 16
"""Greetings under way from one IPv4 address or IPv6 /64: a class behind one router."""

GREETINGS_PER_NETWORK_PER_S: Final = 10
"""Connections that one network may begin, as others have it (bee: 10 a second, 40 at once)."""

GREETINGS_PER_NETWORK_BURST: Final = 40
"""So many at once after a quiet time."""

DOOR_NETWORKS_MAX: Final = 4096
"""Networks whose rate is remembered: 1 MB. Who is forgotten begins anew, which the limits in all bear."""

FRAME_S: Final = 30.0
"""From the first byte of a header to its last: who sends a byte now and then holds a connection no longer."""

CONNECTIONS_MAX: Final = 1000
"""Connections of a node, all its shares together; fewer where the system allows fewer open files, another
number with `--connections`. Each costs a descriptor and about 100 KiB."""

CONNECTIONS_MIN: Final = 8
"""Fewer would be no node; below this the system's limit is too low to work with."""

DESCRIPTORS_RESERVED: Final = 224
"""Of the process's descriptors, kept from accepted connections: one share's files and folders (96), its dials
under way and dialled (92), the rest for listeners, the event loop, trackers and names to be resolved."""

DESCRIPTORS_WANTED: Final = 4096
"""What a command raises its own limit of open files to, where the system lets it: many begin with 256 (macOS)
or 1024 (Linux)."""

LACK_RETRY_S: Final = 0.5
"""Where a file cannot be opened for lack of descriptors or memory, pause before it is tried again."""

DIAL_S: Final = 15.0
"""From the first packet to a connection: three retransmissions of a SYN."""

OUTBOX_BYTES_MAX: Final = 1 * MIB
"""Small messages waiting for a peer that does not read: more than any honest burst of them."""

TICK_S: Final = 0.5
"""How often a swarm looks for what is overdue."""

LINK_TICK_S: Final = 2.0
"""How often each of its links is looked at, for silence: what is waited for there takes half a minute."""

LOST_AGAIN_S: Final = 60.0
"""Who loses a piece for the second time, and says that it has it again, is believed after this long: others
are asked first, and a link that does nothing else is asked once a minute."""

LINKS_ENOUGH: Final = 8
"""A getter with fewer connected peers asks its trackers for more before the interval is over."""

NAP_STEP_S: Final = 0.025
"""Bytes on slow links are left to gather for so long: each look is answered by an acknowledgement."""

NEWS_DELAY_S: Final = 0.2
"""Haves are gathered this long: each message costs a packet on every link. In whole simulated nodes 0.5 s,
together with 5 s for NEWS_WAITING_S, costs 0.6 % of the time to the last with 12 peers of 4 Mbit/s or 25
of 8, and nothing with 25 of 1 Mbit/s."""

NEWS_DELAY_SLOW_S: Final = 0.5
"""The same where pieces come that seldom: in 0.2 s there is nothing to gather then."""

NEWS_OFFERS: Final = 6
"""Links that are told of a new piece at once where the uplink is idle, every NEWS_DELAY_S at most. In whole
simulated nodes that limit themselves, 8 MiB: 10 peers of 4 Mbit/s end at 1.023 of the bound instead of 1.034,
12 of 2 and 8 in turn at 1.050 instead of 1.072 (three seeds); no better when all are told. Behind access
links of the same rates: 1.057 and 1.087 instead of 1.072 and 1.110."""

NEWS_WAITING_S: Final = 2.5
"""The same for a link that could not ask for them now. In the model 0.2 s for all ends at 1.012 of the bound
with 30 peers, 1 s for all at 1.026; the difference lies with those that could have asked. For those that
could not, 2.5 s instead of 1 s saves a sixth of all processor time, and in whole simulated nodes costs 0.3 %
of the time to the last with 24 peers of 1 Mbit/s (the spread of three seeds), nothing with 16 of 8 Mbit/s."""

NEWS_KNOWN_S: Final = 5.0
"""The same for a link that holds these pieces itself."""

NEWS_GATHERED: Final = 20
"""Where it takes longer than either until so many pieces have come, news waits for so many."""

NEWS_LATEST_S: Final = 10.0
"""But not for longer than this. With 50 whole simulated nodes of 1 Mbit/s 20 pieces and 10 s instead of 10
and 5 save a seventh of the processor time in the middle of a download; the last of 25 is complete at the same
time (194.1 s, mean of three seeds)."""

SNUB_S: Final = 30.0
"""Requests open and not a byte for this long: such a peer earns no slot by what it once gave."""

# --- taking pieces in

UNVERIFIED_BYTES_MAX: Final = 32 * MIB
"""Pieces that wait to be hashed and written; beyond it the readers pause. Part of the memory bar."""

CHECK_JOB_BYTES: Final = 8 * MIB
"""Files are checked in jobs of about this much: some milliseconds."""

CHECK_FILE_BYTES: Final = 64 * KIB
"""What opening a file counts in such a job."""

CHECKS_AT_ONCE_MAX: Final = 8
"""Pieces of an earlier run hashed at once; the compute lane lets as many through as there are cores."""

SYNC_FAILURES_MAX: Final = 3
"""Failed syncs in a row after which the disk is not believed to recover."""

DISK_RETRY_S: Final = 2.0
"""A full disk is tried again after this long: soon enough to notice within 30 s that there is room."""

# --- store

FOLDERS_OPEN_MAX: Final = 32
"""Folder descriptors kept by one root: a walk through a tree needs its branch, not the whole tree."""

FILES_OPEN_MAX: Final = 64
"""File descriptors kept by one share for reading and writing; the least recently used goes first."""

CHECKPOINT_S: Final = 5.0
"""At most this much work is fetched again after a power loss; a sync costs milliseconds."""

CHECKPOINT_BYTES: Final = 64 * MIB
"""The same by amount: a fast link must not pile up more that a power loss would take."""

UNCACHED_SHARE_BYTES_MIN: Final = 256 * MIB
"""A download this large, which nobody asks us for, does not stay in the page cache; a smaller one is likely
to be opened at once, and hurts nobody there."""

CATCH_UP_PIECES_MAX: Final = 2
"""Pieces that a writing thread reads again for the file's running hash, after the one it wrote: more would
hold up the next piece, fewer than two would never catch up."""

SYNC_EACH_MAX: Final = 16
"""More files and folders than this to sync, and one sync of the whole file system is cheaper."""

JOURNAL_BYTES_MAX: Final = 32 * MIB
"""A journal is rewritten long before; a longer one is not ours, and is not read into memory."""

JOURNAL_GROWTH_BYTES: Final = 256 * KIB
"""A journal that has grown this much over twice its compact form is rewritten: about 20,000 records."""

SOURCE_LOOK_S: Final = 2.0
"""How often some of the shared files are looked at for changes: told while the sharer still remembers."""

LANDED_LOOK_S: Final = 30.0
"""The same for downloads that are whole: nobody works on them, and a mirror has MIRROR_SHARES_MAX of them. It
costs 1.2 % of a core (SOURCE_LOOK_S would: 7). A change is noticed at once where a piece is asked for."""

SOURCE_LOOK_FILES: Final = 1000
"""So many at a time, about 10 ms of a disk thread; the largest share is looked through in three minutes, the
largest download in fifty."""

SOURCE_RETRY_S: Final = 30.0
"""How often what could not be read is read again: a cable is back before its owner restarts the share."""

SOURCE_RETRY_PIECES: Final = 8
"""So many pieces at a time, at most 128 MiB: a disk that is dying is not asked for more."""

# --- download

PICKER_BLOCK_PIECES: Final = 2048
"""Pieces that the picker treats as one number; a power of two. Operations on 2048 bits cost little more than
on one; most shares (up to 4 GiB) are one block, the largest has 245."""

PICKER_LOOKS_MAX: Final = 8
"""Blocks that one choice looks into, most promising first. Shares of more blocks than that get a piece that
is among the rarest rather than the rarest, and a choice that is never dear."""

PICKER_NEWS_MAX: Final = 4
"""Blocks in which a link has got new pieces that one choice takes up, for the same reason; the others wait
for the next choices, or until there is nothing else to choose."""

PICKER_NOTES_MAX: Final = 256
"""News of other links' pieces that wait to be counted: more than come between two questions of a busy
download, and a bound for who floods an idle one."""

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

PROBE_AFTER_S: Final = 4.0
"""The same, but for so long: is anybody there? A ping, that a machine which was switched off will not answer.
Who is alive answers at once, however long its pieces take."""

PROBE_S: Final = 9.0
"""Without any answer for so long, such a link is silent too. More than small messages wait on links that are
used well, their chunks and queues being short in time; and more than LIMIT_CYCLE_S, in which who has a low
limit for downloads reads us once. With 5 s three links were taken for gone among ten simulated nodes with
10 KiB/s each, in two minutes; with 9 s none."""

CHOKE_GRACE_S: Final = 1.0
"""After a choke, requests wait so long for their rejection, or for an answer that was under way already."""

REJECT_REST_S: Final = 1.0
"""A link that rejected a request as busy is left alone for so long."""

DOWNLOAD_TICK_S: Final = 1.0
"""How often silent links are looked for."""

LATE_TICK_S: Final = 2.0
"""A look that comes so much too late (this process stood still) finds nobody silent: what came meanwhile is
read before the next one. An event loop that is merely busy is late by less."""

ENDING_PIECES: Final = 16
"""A download nears its end when it lacks at most so many pieces a link: more than pipelines that matter."""

ENDING_SHARE: Final = 0.7
"""Near the end a link is asked for a piece only if it should bring it within this share of the time in which
faster links would be done with everything without it. Below 1, since what they were asked for is counted in
whole pieces, and half of them are on average here already."""

ENDING_FASTER: Final = 1.5
"""Faster are links of so many times the rate: among equals nobody waits for anybody."""

ENDING_LINKS: Final = 16
"""So many of the fastest links are looked at, for what they would do is worked out for every request. Where
more are faster the others do their part sooner still."""

ENDING_TRUST_S: Final = 0.5
"""Who was asked for something and has sent nothing for so long is not counted on for more."""

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

ENDGAME_BEGUN_S: Final = 0.5
"""How fast an answer comes can be told when it has come for so long; before, it is taken for one of many."""

RESCUE_S: Final = 20.0
"""A piece that would take so long more is taken from its link whatever was thrown away before, if another is
RESCUE_GAIN times faster: or links that send a byte now and then could hold a download up for ever."""

RESCUE_GAIN: Final = 4.0
"""So many times: an honest link that is merely slower keeps its piece."""

ENDGAME_LATE_SHARE: Final = 0.8
"""Pieces expected before this share of the latest one's time are left alone: they do not decide the end."""

ENDGAME_WASTE_PERMILLE: Final = 2
"""Of the bytes received, what may be received twice (and one piece): a part of the 1 % that is our bar, for
the rest cannot be seen in advance. 5 instead of 2 ended no sooner (six seeds of 10, 30 and 20 mixed peers in
the large world: within 0.1 %) and threw half as much more away."""

ENDGAME_EARLY_SHARE: Final = 0.25
"""Of that bound, what may be spent while other pieces are still open, when nothing waits for it: in effect
one piece at a time, until one has cost something. With all of it 30 peers in shaped namespaces spent in their
first second what they lacked in the last one. In shares of few pieces, where the first ones are much of the
whole, all of it is 1 % sooner and none 1 to 2 % later (512 KiB, 6 and 12 peers, 12 seeds in either world)."""

ENDGAME_FRESH_S: Final = 2.0
"""A request to a link that has answered nothing yet counts for so long as one that may be answered. Where it
did not, nothing counted in a swarm's first second, and some of 30 peers fetched five pieces twice."""

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

LIMIT_TURN_S: Final = 2.0
"""So long a flow goes before others with what it has begun, at the limit's rate. A piece goes in one turn
where that is half a piece a second or more; larger ones go side by side."""

LIMIT_CYCLE_S: Final = 8.0
"""When many flows wait their turns are shorter, so that each has one in this time: who gets nothing for
REQUEST_TIMEOUT_S is taken for dead."""

LIMIT_WAKE_S: Final = 0.001
"""Timers finer than this cost more than they smooth; the catch-up above makes good for the rounding."""

# --- swarm: upload

CHUNK_S: Final = 0.075
"""How much of a link's rate one chunk is worth: what a cancel or a control message may have to wait for."""

CHUNK_BYTES_MIN: Final = 32 * KIB
"""Below this the fixed cost of a frame and a system call shows: 16 KiB cost a seventh more function calls for
a piece of 64 KiB, and nobody was done sooner. Whole simulated nodes, 32 MiB, two seeds: 10 peers of 4 Mbit/s
at 1.021 of the bound (1.024 with 32 KiB), 12 of 2 and 8 in turn at 1.034 (1.021), 25 of 1 at 1.022 (1.021).
On slow links a chunk takes longer than CHUNK_S: a cancel waits for a second at 256 kbit/s."""

CHUNK_BYTES_MAX: Final = MIB
"""Above this larger chunks measure no faster."""

IN_SOCKET_S_MAX: Final = 1.0
"""An uplink is not taken to be busy with the last chunk of a link for longer: the rate of a link that was
served little so far says nothing. In whole simulated nodes behind links of 1 Mbit/s, 3 MiB, 25 peers end at
1.106 of the bound instead of 1.122 where it is taken to be idle as soon as the sockets have all (three
seeds)."""

REPEATS_FREE: Final = 8
"""Pieces that one link may be sent a second time without a question: cancelled and asked again in honesty."""

REPEATS_SHARE: Final = 16
"""Beyond these, one repeat for so many pieces sent: who asks for the same for ever gets nothing."""

REPEATS_PER_S: Final = 2.0
"""And so many with time: a node whose disk lost what was not durable asks for all of that again, and must not
wait for ever."""

PATIENCE_S: Final = 5.0
"""A request that rarer pieces have overtaken for so long is next, or its asker would give us up."""

CHOICE_MAX: Final = 32
"""Oldest requests of a link among which the next answer is chosen: bounds the work for one choice."""

DEFER_S: Final = 0.05
"""When to look again at a link whose second copies wait for another link's first copies."""

BEGINNING_S: Final = 1.0
"""A swarm begins for so long after somebody has asked for a piece: first pieces go before second ones."""

NEWCOMER_S: Final = 0.2
"""So long others wait at most for a newcomer's first piece: 1 MB at 40 Mbit/s. With 0.5 s a fast origin's
uplink stood idle for a third of that."""

NEWCOMER_LOOK_S: Final = 0.01
"""When to look again whether they still have to."""

NEWCOMER_PIECES_MIN: Final = 128
"""Shares of fewer pieces, less than 8 MiB, know no beginning: who wants two pieces does not ask again."""

HINTS_VAIN_MAX: Final = 4
"""So often in a row a link is told that what it asks for is coming from elsewhere. Who then has not asked for
a first copy does not want any, and each hint more would cost it a round trip."""

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

SLOTS_MIN_LIMITED: Final = 3
"""The same under a rate limit, where pieces go one after the other (`LIMIT_TURN_S`) and one slot more only
spreads what is sent. Where origin and peers are equally fast, 16 whole simulated nodes end at 1.039 of the
bound instead of 1.048 (means of three seeds), 31 in the model at 1.067 instead of 1.095; behind a fast origin
it makes no difference. Two slots are worse in large swarms."""

DRY_SLOT_S: Final = 0.3
"""Who has a slot and asks for nothing for so long does not fill it: another link is served beside it. More
than a round trip through a full uplink's queue."""

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
"""What trackers or peers of one network may fill of the book: nobody crowds out the others."""

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

BACKOFF_NAMED_MAX_S: Final = 30.0
"""The same for an address that the user or the link names, unless there is nothing to gain: it may be the one
that has it all, and a getter that gives up after two minutes without progress has to see it come."""

BACKOFF_JITTER_SHARE: Final = 0.25
"""Each wait is lengthened by up to this share at random, so that a swarm does not come back in step."""

DIAL_FAILURES_MAX: Final = 5
"""An address by hearsay rests after so many failures until somebody tells of it again, at the earliest after
BACKOFF_MAX_S; one that the user named is tried for ever."""

LINK_PROVEN_S: Final = 30.0
"""A link that lasted so long and broke counts as a first failure, a shorter one as a further failure."""

LINKS_SPARE: Final = 20
"""When fewer connections than this are free, those that serve nobody go."""

LINK_NEW_S: Final = 20.0
"""A link that began, or moved data, so lately is not yet one that serves nobody: its first words, and its
manifest before them, may have to wait at a full uplink. (Who only wants the place would say that it wants
more.)"""

LINK_TRIAL_S: Final = 60.0
"""A link on which nothing has moved for so long may have to make room for a peer that was not tried yet: time
for a busy node to give each of a crowd an optimistic slot."""

TURNOVER_S: Final = 10.0
"""How often links make room so; and, of those that we dial, one in TURNOVER_SHARE at a time."""

TURNOVER_SHARE: Final = 10
"""See TURNOVER_S. (libtorrent's peer_turnover: 4 % every 5 minutes, when 90 % of the places are taken.)"""

TALK_PER_S: Final = 50
"""Messages of no use that a link may send, sustained: chokes, known haves, haves of what it had lost,
refused requests. Honest links stay below 5 a second; this many cost 1 % of a core."""

TALK_BURST: Final = 2048
"""So many at once: several windows of requests that a choke refuses."""

LEDGER_NODES_MAX: Final = 1000
"""Nodes whose account outlives their links: who comes back is neither a newcomer nor a stranger."""

EXPELLED_MAX: Final = 256
"""Peers sent away that a member can still name: people look at the last few, and a wrong manifest of one byte
is enough to be one."""

SENT_AWAY_MAX: Final = 16
"""Networks from which somebody sent us away, as the user is told: the first few say what is wrong
here, and who only claims it cannot fill a screen."""

BANS_MAX: Final = 1000
"""Remembered bans of each kind for one share; the oldest goes."""

BANNED_NODES_PER_HOST_MAX: Final = 3
"""So many banned nodes at one host, and the host is banned: a new node id costs nothing. One or two may share
a router with honest peers."""

DUPLICATE_GRACE_S: Final = 10.0
"""A link that was silent for so long gives way when the same node connects again."""

PORT_PRIVILEGED_MAX: Final = 1023
"""Addresses by hearsay with a port up to this are not dialled: they are services, not peers."""

HOSTS_REMEMBERED_MAX: Final = 4096
"""Hosts whose spelling is remembered, some 100 bytes each: swarms meet the same ones again and again."""

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

SHORT_PATH_S: Final = 0.005
"""A path with a shorter round trip is one of a building or a town, where a lost packet means a full queue."""

TURN_BYTES: Final = 1 * MIB
"""A stream that never has to wait lets other tasks run after this much: about a millisecond."""

TURN_CALL_BYTES: Final = 8 * KIB
"""What a call counts beside its bytes, so that many tiny reads give way too."""

COPY_BYTES: Final = 128 * KIB
"""Buffer for sending a file where `sendfile` cannot: large enough that a call's cost does not matter, small
enough to stay in the processor's cache."""

CLOSE_NOTIFY_S: Final = 1.0
"""How long a close waits to tell the other side so: it may not be reading, and we are leaving."""

TLS_CALL_S: Final = 0.25
"""For one call of OpenSSL, which takes milliseconds at most unless the other side keeps feeding it. Nothing
else happens meanwhile, so short."""

TLS_CALL_BYTES: Final = 64 * KIB
"""What such a call must have taken from its socket in that time: several of the longest records, of which a
call that is not fed takes one, and a tenth of a quarter of a second's key updates."""

TLS_CALL_LOOKS: Final = 4
"""The watch must have found the same call so often: a machine that stood still for a while proves nothing."""

TLS_SHUNNED_S: Final = 60.0
"""So long nobody is let in from the network of one who did that: else he would come back at once. All of
GREETINGS_PER_NETWORK_MAX at once hold us up for 4 s a minute then."""

TLS_SHUNNED_MAX: Final = 1024
"""Networks remembered for it: 100 KB."""

ACCEPT_RETRY_S: Final = 0.1
"""Pause after an accept that failed for lack of descriptors or memory, as `trio.serve_listeners`."""

LISTEN_BACKLOG: Final = 512
"""Connections that the kernel keeps until we come to them. No more than are greeted in a few seconds: whoever
would wait longer has given up when his turn comes, and a full queue makes his system try again by itself."""

LISTEN_TRIES_MAX: Final = 16
"""Free ports tried until one is free on every address at once."""

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
sixth of one core (0.6 ms for an exchange with 50 peers in the answer, measured)."""

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

TRACKER_HANDSHAKES_PER_NETWORK_PER_S: Final = 30
"""Handshakes that a tracker begins with one IPv4 address or IPv6 /64: 3 % of a core at 1 ms each, 15 % of a
slow one at 5 ms (measured). A mirror of MIRROR_SHARES_MAX shares needs 18, one a minute for each."""

TRACKER_HANDSHAKES_PER_NETWORK_BURST: Final = 256
"""So many at once after a quiet time: a classroom that begins together, a daemon that takes its shares up."""

TRACKER_REPORTS_PER_NETWORK_PER_S: Final = 60
"""Announces and publications that it answers one network: 4 % of a core. A mirror of MIRROR_SHARES_MAX shares
makes 18."""

TRACKER_REPORTS_PER_NETWORK_BURST: Final = 4096
"""So many at once after a quiet time: a campus behind one address translation, or several daemons that take
up all they have."""

TRACKER_DESCRIPTORS_RESERVED: Final = 32
"""Of the process's descriptors, kept from connections: listeners, the event loop, the next accept."""

TRACKER_REQUEST_S: Final = 10.0
"""From a connection (or its last answer) to a whole announce, the wait for its network's turn included: who
is slow or silent loses the slot."""

TRACKER_HANDSHAKE_S: Final = 10.0
"""For the transport's handshake on an accepted connection, the wait for its network's turn included."""

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

# --- catalogue

CATALOGUE_NAMES_MAX: Final = 100_000
"""Published names that a tracker keeps; beyond it newcomers are refused until some expire."""

CATALOGUE_BYTES_MAX: Final = 384 * MIB
"""Memory of a full catalogue with the dearest names that are legal; with names as people give them it takes a
third of that (`benchmarks/catalogue.py`)."""

CATALOGUE_NAMES_PER_NODE_MAX: Final = 1000
"""Names of one publisher: an archive, not a flood."""

CATALOGUE_NAMES_PER_ADDRESS_MAX: Final = 4000
"""Names published from one IPv4 address or IPv6 /64: several publishers behind one address translation.
Making node ids is free, so this is what bounds a flood."""

CATALOGUE_LIFETIME_S: Final = 24 * 3600.0
"""A name that its publisher has not published again for this long is free: those who fetched the share may
be found over a night and a day without the publisher."""

CATALOGUE_INTERVAL_S_MIN: Final = 60
"""How often a publisher repeats itself to a quiet tracker; also how long a restarted one knows too little."""

CATALOGUE_INTERVAL_S_MAX: Final = 1800
"""And no less often, however many names there are."""

PUBLISHES_PER_S_TARGET: Final = 100
"""The interval grows with the number of names so that they are repeated no faster than this in all."""

CATALOGUE_WORDS_PER_NAME_MAX: Final = 16
"""Words of one name in the index: a name of 240 bytes could have 120."""

CATALOGUE_RUN_WORDS_MAX: Final = 1000
"""Words in one run of the index: adding one moves a few KiB of the run, or of the list of runs."""

CATALOGUE_EXPIRIES_PER_CALL_MAX: Final = 128
"""Names dropped in one go: some milliseconds, so that answering is never held up."""

CATALOGUE_ENTRIES_PER_MESSAGE_MAX: Final = 100
"""Entries in one answer: at most 48 KiB with the longest names."""

SEARCH_WORDS_MAX: Final = 8
"""Words of one search."""

SEARCH_LOOKS_MAX: Final = 20_000
"""Names that one search looks at before it answers with what it has and where to go on: some milliseconds, so
that nobody holds up a tracker with words that are everywhere but never together. Besides, it looks at a
quarter as many words, and gathers the names of a word that fewer than half as many have: then only those."""

SEARCH_LOOKS_PER_S: Final = 200_000
"""Names, and words and numbers of the index, that are looked at for one address each second: under a tenth of
a core."""

SEARCH_LOOKS_MIN: Final = 200
"""What any search costs in names looked at: an answer of 100 entries takes half a millisecond to make."""

SEARCH_EXCHANGES_MAX: Final = 1200
"""Answers that a client takes for one question: more than a full catalogue has pages."""

SEARCH_PATIENCE_S: Final = 60.0
"""For all answers of one tracker to a question that a person asked: two conversations' worth. Each answer has
its deadline, but who was always nearly late, and said that there is more, held `get NAME` for 19 minutes."""

SERIAL_MAX: Final = 2**63 - 1
"""Of a publisher's entries: the largest integer that every language holds exactly."""

# --- mirror

MIRROR_FETCHES_MAX: Final = 4
"""Shares that a mirror fetches at once: enough to fill a line, few enough to finish some soon."""

MIRROR_SHARES_MAX: Final = 1000
"""Shares that a mirror keeps: each costs some 50 KiB and a descriptor while it is idle (measured)."""

MIRROR_REMEMBERED_MAX: Final = 10_000
"""Shares of which a mirror remembers where they are, retired ones included."""

MIRROR_LISTINGS_MAX: Final = 1000
"""Entries that a mirror takes from a tracker before it looks at them: under 1 MiB."""

MIRROR_PAGES_PER_S: Final = 2
"""Answers that a mirror takes from one tracker, after SEARCH_EXCHANGES_MAX of them at once, which are more
than a full catalogue has pages. An honest tracker lists a page a second (PUBLISHES_PER_S_TARGET), and a look
for news is another. One that says for ever that it has more costs a tenth of a core at most."""

MIRROR_STALL_S: Final = 60.0
"""A fetch without progress for this long gives its place to one that waits."""

MIRROR_RETRY_S: Final = 60.0
"""Pause before a share whose place on the disk failed is tried again."""

MIRROR_REMARKS_PER_S: Final = 1 / 60
"""Lines that a mirror prints of listings that it leaves out, after so many at once as below: lies without end
must fill neither a screen nor a log (under 0.5 MiB a day)."""

MIRROR_REMARKS_BURST: Final = 200
"""More than anybody reads; of the rest the number is told."""

MIRROR_LEDGER_BYTES_MAX: Final = 16 * MIB
"""Of the file in which a mirror remembers what is where: as many as above, with the longest names."""

# --- identity

KEY_FILE_BYTES_MAX: Final = 4 * KIB
"""A node's key file; an Ed25519 key in PEM takes 119 bytes."""

SWARM_SECRET_BYTES_MIN: Final = 8
"""A shorter secret of a private swarm is guessed in no time, whatever a guess costs."""

SWARM_SECRET_BYTES_MAX: Final = 4 * KIB
"""A key file by mistake, a disk image by accident."""

# --- peer exchange

EXCHANGE_FIRST_S: Final = 0.25
"""After a link opens, before we tell whom else we know: by then the other side has what matters more. Soon
all the same: an origin that is the only address that anybody knows may die."""

EXCHANGE_INTERVAL_S: Final = 10.0
"""Between two tellings on one link, of news only: a swarm is well connected within a few."""

EXCHANGE_GAP_S: Final = 5.0
"""Who tells more often than this on the whole is not listened to."""

EXCHANGE_EARLY_MAX: Final = 12
"""Who is so many ahead of that, counted from the beginning, is closed. Of those that did not come when they
should, so many are listened to when they come at once: after a network, or a machine, stood still."""

EXCHANGE_TOLD_MAX: Final = 256
"""Addresses remembered as told on one link; more connected peers than that are told again."""

# --- local network

LAN_KEY_BYTES: Final = 16
"""Of a share's name on the local network: no accident makes two shares alike, and the label stays below the
63 bytes that DNS allows."""

LAN_NAMES_MAX: Final = 1024
"""Announcements remembered, of all shares and nodes: a busy office, not a flood."""

LAN_ADDRESSES_MAX: Final = 8
"""Addresses of one node: its interfaces, IPv4 and IPv6."""

LAN_ANSWERS_MAX: Final = 32
"""Addresses in one answer that are looked at: there may be ten thousand, of which none can be dialled."""

LAN_INTERFACES_MAX: Final = 16
"""Addresses to which sockets for multicast are bound: Linux lets a socket join 20 groups, and a machine for
containers may have a hundred bridges."""

LAN_PEERS_MAX: Final = 256
"""Addresses of one share taken from one local network, and its announcements that wait to be looked up:
anybody there can announce anything."""

LAN_PER_HOST_MAX: Final = 16
"""Of these, at one host: all that an honest machine runs, and a sixteenth of what there is room for."""

LAN_FULL_PAUSE_S: Final = 5.0
"""After each look-up for a share whose LAN_PEERS_MAX are taken: newcomers take the place of the oldest then,
and who announces ever new addresses has us dial as many in a minute as hearsay may, about a hundred."""

LAN_LOOKUP_S: Final = 2.0
"""For the address of an announcement: multicast answers come within a tenth of it, or are lost."""

LAN_LOOKUPS_MAX: Final = 8
"""Announcements looked up at once, for all shares: each asks the whole network."""

LAN_LOOKUP_PAUSE_S: Final = 0.05
"""After each look-up for one share: who changes his announcement a thousand times a second gets twenty."""

LAN_ANSWER_S: Final = 5.0
"""For what zeroconf does at once, unless the machine is overloaded; then the local network is tried again."""

LAN_LOOK_S: Final = 10.0
"""Between two looks at the machine's addresses: a look costs a millisecond, and who opens a laptop in another
network looks for the other one about as long."""

LAN_PAUSE_S_MAX: Final = 120.0
"""Between two starts of the discovery, at most: the pause begins at LAN_LOOK_S and doubles, since a start may
fail for ever or an interface come and go, and each start is heard by the whole network."""

LAN_CALM_S: Final = 300.0
"""Without a start of the discovery, after which the next one is a first one again."""

LAN_LINGER_S: Final = 1.0
"""Between the end of the last share and that of the discovery: its next one often follows at once."""

LAN_SLEPT_S: Final = 5.0
"""Asleep for longer than this, a machine may be somewhere else, and has missed what was announced."""

LAN_SEARCH_S: Final = 60.0
"""Between the start and the first renewed search: a switch may pass nothing on for half a minute after a
cable was plugged in, and what is lost is else never asked for again."""

LAN_SEARCH_S_MAX: Final = 3600.0
"""Between two searches; the pause doubles from LAN_SEARCH_S up to here, as in RFC 6762, section 5.2."""

# --- event traces

TRACE_BACKLOG_BYTES_MAX: Final = MIB
"""What the reader of a trace has not taken yet: ten thousand events. It may pause, not stay away."""

TRACE_END_S: Final = 5.0
"""At the end, for the reader to take the rest: jq reads a full backlog in a second."""

# --- local control

CONTROL_REQUEST_BYTES_MAX: Final = 64 * KIB
"""A request to the daemon: a link at its limit, with peers and patterns."""

CONTROL_REPLY_BYTES_MAX: Final = 16 * MIB
"""An answer: a list of every share that a daemon may know, at 1.5 KiB each."""

CONTROL_TEXT_BYTES_MAX: Final = 40 * KIB
"""One text of a request: a link, or a path."""

CONTROL_ITEMS_MAX: Final = 256
"""Peers, trackers or patterns in one request."""

CONTROL_CONNECTIONS_MAX: Final = 64
"""Commands that talk to one daemon at once: one user's terminals and scripts."""

CONTROL_PENDING_MAX: Final = 32
"""Requests of one connection that are worked on at once; more are refused, not queued."""

CONTROL_ANSWERS_BYTES: Final = 256 * KIB
"""Answers to one command that are put together before they are sent: a chunk of requests may ask for as many
megabytes as it has room for requests."""

CONTROL_SEND_S: Final = 10.0
"""A command that takes no answer for so long is gone, or stopped in its terminal."""

CONTROL_ANSWER_S: Final = 30.0
"""What a command waits for the daemon's first word: beyond, it hangs."""

CONTROL_END_S: Final = 60.0
"""What `peer stop` waits for the daemon to end: its goodbyes, and a disk that takes its time to sync."""

CONTROL_END_LOOK_S: Final = 0.02
"""Between two looks whether it has ended."""

CONTROL_FOLLOW_S: Final = 0.2
"""Between two reports of progress to a command that follows."""

STATUS_FRESH_S: Final = 0.1
"""A status is made at most this often, however many ask: who watches sees no difference."""

STATUS_CELLS_MAX: Final = 64
"""Cells of a piece map: a line of a terminal."""

STATUS_LINKS_MAX: Final = 20
"""Connected peers of one share that a status names, fastest first; all are counted."""

STATUS_SHARES_MAX: Final = 64
"""Shares that a status describes, those at work first; all are counted, and `peer list` has all."""

SOCKET_PATH_BYTES_MAX: Final = 100
"""A Unix socket's address has room for 104 (macOS) or 108 bytes with the final zero."""

# --- daemon

HOME_VERSION: Final = 1
"""Layout of the home; a home with a higher number belongs to a newer program and is not touched."""

SERIALS_BYTES_MAX: Final = 64 * MIB
"""The file with the serials of published names: 100,000 of the longest. What is larger is not it."""

SHARES_KNOWN_MAX: Final = 4000
"""Shares that one daemon keeps: within what a tracker lists of one node."""

SHARE_RECORD_BYTES_MAX: Final = 256 * KIB
"""What is kept of one known share, its files' stamps apart."""

SHARE_TRACKERS_MAX: Final = 64
"""Trackers that are kept of one known share, the last ones named: each time that it is asked for again may
bring others, and a record that has grown too long could not be read any more."""

SHARE_PEERS_MAX: Final = 128
"""The same for peers that links named."""

STAMPS_BYTES_MAX: Final = 512 * MIB
"""The stamps of FILES_MAX files with names at their limit; ordinary ones take 100 bytes a file."""

DORMANT_S: Final = 60.0
"""A share that nobody has been connected for so long is closed; whoever asks for it opens it again."""

AWAKE_LOOK_S: Final = 5.0
"""How often an open share is looked at for that."""

AWAKE_SHARES_MAX: Final = 256
"""Complete shares open at once: with files and peers each may cost a megabyte and a hundred descriptors."""

REOPEN_S: Final = 10.0
"""A share that could not be opened is not tried again sooner, however many ask for it."""

RECHECK_SHARES: Final = 64
"""Shares whose files are looked at in one job after a start: some milliseconds of a disk thread."""

LAN_SHARES_MAX: Final = 64
"""Closed shares that a daemon announces on the local network, latest first: each costs packets on the air."""

HERALD_RETRY_S: Final = 5.0
"""First pause after a tracker could not be told of the closed shares; doubles up to TRACKER_BACKOFF_S_MAX."""

RELATIONS: tuple[tuple[bool, str], ...] = (
    (LAN_LOOK_S < LAN_PAUSE_S_MAX < LAN_CALM_S, "a start that fails for ever never counts as a first one"),
    (LAN_ADDRESSES_MAX < LAN_ANSWERS_MAX, "who answers with some of no use is still dialled"),
    (LAN_ADDRESSES_MAX < LAN_PEERS_MAX < LAN_NAMES_MAX, "one node or share leaves room for others"),
    (LAN_ADDRESSES_MAX <= LAN_PER_HOST_MAX < LAN_PEERS_MAX, "one host is heard, and leaves room for others"),
    (
        60 / LAN_FULL_PAUSE_S * LAN_ADDRESSES_MAX <= NEW_DIALS_PER_MINUTE_MAX,
        "a neighbour can have us dial no more than hearsay can",
    ),
    (LINK_CHARS_MAX < CONTROL_TEXT_BYTES_MAX < CONTROL_REQUEST_BYTES_MAX, "every link must fit a request"),
    (SHARES_KNOWN_MAX * 1536 < CONTROL_REPLY_BYTES_MAX, "a list of all known shares must fit an answer"),
    (
        3 * CONTROL_REQUEST_BYTES_MAX + (SHARE_TRACKERS_MAX + SHARE_PEERS_MAX) * (HOST_BYTES_MAX + 64)
        < SHARE_RECORD_BYTES_MAX,
        "a record must hold what one request brings, and what is kept of those before",
    ),
    (SHARES_KNOWN_MAX <= MEMBERS_PER_NODE_MAX, "a tracker must be able to list all shares of a daemon"),
    (AWAKE_LOOK_S < DORMANT_S, "an idle share must be noticed in time"),
    (STATUS_FRESH_S < CONTROL_FOLLOW_S, "who follows must see news each time"),
    (2 * EXCHANGE_GAP_S <= EXCHANGE_INTERVAL_S, "an honest peer with a slow clock must be listened to"),
    (
        IDLE_S <= EXCHANGE_EARLY_MAX * EXCHANGE_INTERVAL_S,
        "what is told to a machine that stands still for as long as a link bears must not look like a flood",
    ),
    (LINKS_MAX <= EXCHANGE_TOLD_MAX, "what is told to one link must fit its memory"),
    (2 * KEEPALIVE_S < IDLE_S, "two lost pings must fit into the other side's patience"),
    (OPENING_S < IDLE_S, "a stranger gets less patience than a peer"),
    (GREETINGS_PER_S <= GREETINGS_MAX, "a crowd must leave each greeting a second at least"),
    (
        GREETINGS_PER_NETWORK_PER_S <= GREETINGS_PER_NETWORK_MAX <= GREETINGS_MAX // 4,
        "one network alone must leave places to greet for others, and a second to its own",
    ),
    (
        3 * LISTEN_BACKLOG < GREETINGS_PER_S * OPENING_S,
        "who waits in the queue must still be greeted in time",
    ),
    (GREETINGS_PER_NETWORK_BURST < GREETINGS_BURST, "one network alone must not use up the handshakes"),
    (
        10 * TLS_CALL_S * GREETINGS_PER_NETWORK_MAX < TLS_SHUNNED_S,
        "a network that wastes our time must get a tenth of it at most",
    ),
    (LINKS_MAX < CONNECTIONS_MAX, "one share alone must leave connections for others"),
    (4 * LINK_TICK_S < FRAME_S, "links must be looked at much more often than they become overdue"),
    (FRAME_S < IDLE_S, "half a header gets less patience than silence"),
    (
        FOLDERS_OPEN_MAX + FILES_OPEN_MAX + LINKS_DIALLED_MAX + HALF_OPEN_MAX < DESCRIPTORS_RESERVED,
        "a share's files and dials must fit what is reserved for them",
    ),
    (PIECE_BYTES_MAX <= PAYLOAD_BYTES_MAX, "a whole piece must fit into one frame's payload"),
    (PIECES_MAX * 32 < MANIFEST_BYTES_MAX, "the piece hashes of the largest share must fit its manifest"),
    (
        MANIFEST_ASKS_MAX * MANIFEST_BYTES_MAX < MANIFEST_HELD_BYTES_MAX,
        "those who get on must be able to hold a whole manifest each",
    ),
    (2 * PIECE_BYTES_MAX <= HASH_MEMORY_BYTES, "hashing must be able to read while it hashes"),
    (FOLDERS_MAX >= FILES_MAX, "every file may have a folder of its own"),
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
    (PICKER_BLOCK_PIECES & (PICKER_BLOCK_PIECES - 1) == 0, "a block of pieces must be a power of two"),
    (PICKER_NEWS_MAX < PICKER_LOOKS_MAX, "news must not keep the picker from looking at the rest"),
    (
        NEWS_DELAY_S <= NEWS_DELAY_SLOW_S <= NEWS_WAITING_S <= NEWS_KNOWN_S <= NEWS_LATEST_S,
        "news must be told first to those who need it first",
    ),
    (PIPELINE_PIECES_START <= WINDOW_DEFAULT, "the window must hold the first requests"),
    (PIPELINE_S + PIPELINE_LATENCY_S_MAX < REQUEST_TIMEOUT_S, "a queue must not look like silence"),
    (PROBE_AFTER_S + PROBE_S < REQUEST_TIMEOUT_S, "a probe must tell sooner than waiting does"),
    (PIPELINE_LATENCY_S_MAX < PROBE_S, "who is far away must not look dead"),
    (LIMIT_CYCLE_S < PROBE_S, "who reads us in turns must not look dead"),
    (ENDGAME_TICK_S <= DOWNLOAD_TICK_S, "the end must not be watched less closely than the middle"),
    (2 * LIMIT_CYCLE_S <= REQUEST_TIMEOUT_S, "who waits for a turn must not look dead"),
    (SLOTS_MIN * LIMIT_TURN_S <= LIMIT_CYCLE_S, "the usual number of slots must not shorten turns"),
    (2 * LIMIT_QUANTUM_S <= LIMIT_CATCH_UP_S, "a limiter must be able to save up for one grant and be late"),
    (LIMIT_BURST_S + LIMIT_QUANTUM_S <= 0.02 * 5, "a limit must be exact within 2 % over 5 s"),
    (CHUNK_BYTES_MIN <= CHUNK_BYTES_MAX, "chunk sizes must be in order"),
    (CHUNK_BYTES_MAX <= PAYLOAD_BYTES_MAX, "a chunk must fit into one frame's payload"),
    (
        SLOTS_MIN_LIMITED <= SLOTS_MIN <= SLOTS_FIRST <= SLOTS_MAX <= LINKS_MAX,
        "slots must be in order and below the connections",
    ),
    (CHOKE_ROUND_EARLY_S <= CHOKE_ROUND_S <= OPTIMISTIC_S, "an optimistic slot must outlive a round"),
    (HALF_OPEN_UNTRUSTED_MAX < HALF_OPEN_MAX, "addresses that the user named must find a free dial"),
    (LINKS_DIALLED_MAX < LINKS_MAX, "those who dial us must find room"),
    (LINKS_SPARE + LINKS_DIALLED_MAX < LINKS_MAX, "spare connections must not come from those that we dial"),
    (4 * WINDOW_MAX <= TALK_BURST, "a choke or an endgame must not look like a flood"),
    (BACKOFF_FIRST_S < BACKOFF_NAMED_MAX_S < BACKOFF_MAX_S, "who is named is dialled more often, not less"),
    (SNUB_S <= LINK_TRIAL_S, "a link must be seen to snub us before it makes room for that"),
    (LINKS_MAX <= LEDGER_NODES_MAX, "the accounts of all that are connected must be kept when they go"),
    (KNOWN_PER_INFORMANT_MAX < KNOWN_PEERS_MAX, "no informant may fill the book alone"),
    (
        UNSENT_BYTES_MIN <= UNSENT_BYTES <= UNSENT_BYTES_MAX,
        "a stream begins with a queue that it could also be given later",
    ),
    (UNSENT_S < UNSENT_SAMPLE_S, "a rate is measured over longer than the queue that it sets"),
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
        3 * TRACKER_CONNECTIONS_PER_ADDRESS_MAX < TRACKER_HANDSHAKES_PER_NETWORK_PER_S * TRACKER_HANDSHAKE_S,
        "the last of an address's connections must get its handshake long before its time is over",
    ),
    (
        max(SWARM_MEMBERS_PER_ADDRESS_MAX, AWAKE_SHARES_MAX) <= TRACKER_HANDSHAKES_PER_NETWORK_BURST,
        "a classroom, or all open shares of a daemon, must be able to come at once",
    ),
    (
        MIRROR_SHARES_MAX < TRACKER_HANDSHAKES_PER_NETWORK_PER_S * ANNOUNCE_INTERVAL_S_MIN,
        "a full mirror must be able to report its shares at the shortest interval",
    ),
    (
        max(MIRROR_SHARES_MAX / ANNOUNCE_INTERVAL_S_MIN, TRACKER_HANDSHAKES_PER_NETWORK_PER_S)
        < TRACKER_REPORTS_PER_NETWORK_PER_S
        < ANNOUNCES_PER_S_TARGET / 4,
        "a network must be able to ask what it has come for, and leave most of a tracker's time to others",
    ),
    (
        TRACKER_CONNECTIONS_PER_ADDRESS_MAX / TRACKER_REPORTS_PER_NETWORK_PER_S < TRACKER_EXCHANGE_S / 10,
        "the last of an address's connections must be answered long before its patience ends",
    ),
    (
        4 * TRACKER_HANDSHAKES_PER_NETWORK_PER_S <= ANNOUNCES_PER_S_TARGET,
        "one network alone must leave most of a tracker's time to others",
    ),
    (
        TRACKER_MORE_S_MAX + TRACKER_BACKOFF_S_MAX < MEMBER_INTERVALS * TRACKER_REPORT_S_MAX,
        "a tracker is asked again before it forgets us",
    ),
    (TRACKER_ANSWER_PEERS_WANTED <= PEERS_PER_MESSAGE_MAX, "we must not ask for more than a message holds"),
    (
        CATALOGUE_ENTRIES_PER_MESSAGE_MAX * (NAME_BYTES_MAX + 224) + 128 <= HEADER_BYTES_MAX,
        "a full answer of a catalogue must fit a header",
    ),
    (
        CATALOGUE_ENTRIES_PER_MESSAGE_MAX <= HAVES_PER_MESSAGE_MAX,
        "a catalogue's answer must pass as an array of a header",
    ),
    (
        CATALOGUE_NAMES_PER_NODE_MAX <= CATALOGUE_NAMES_PER_ADDRESS_MAX <= CATALOGUE_NAMES_MAX // 8,
        "one address alone must leave names for others",
    ),
    (
        CATALOGUE_NAMES_MAX / PUBLISHES_PER_S_TARGET <= CATALOGUE_INTERVAL_S_MAX,
        "a full catalogue must be able to slow its publishers down enough",
    ),
    (
        4 * CATALOGUE_INTERVAL_S_MAX < CATALOGUE_LIFETIME_S,
        "a publisher that misses some turns must keep its name",
    ),
    (
        SEARCH_EXCHANGES_MAX * CATALOGUE_ENTRIES_PER_MESSAGE_MAX > CATALOGUE_NAMES_MAX,
        "a client must be able to read a full catalogue",
    ),
    (
        MIRROR_REMEMBERED_MAX * (4 * NAME_BYTES_MAX + 400) <= MIRROR_LEDGER_BYTES_MAX,
        "a full ledger of a mirror must stay readable",
    ),
    (
        1.25 * SEARCH_LOOKS_MAX / SEARCH_LOOKS_PER_S * TRACKER_CONNECTIONS_PER_ADDRESS_MAX
        < TRACKER_REQUEST_S,
        "the last of an address's searches must be answered before its patience ends",
    ),
    (
        PUBLISHES_PER_S_TARGET / CATALOGUE_ENTRIES_PER_MESSAGE_MAX < MIRROR_PAGES_PER_S,
        "a mirror must read faster than names are listed",
    ),
    (MIRROR_FETCHES_MAX < MIRROR_SHARES_MAX, "a mirror seeds more than it fetches"),
)
