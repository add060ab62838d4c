"""Availability: counts agree with the peers that are connected, however they became complete."""

from hypothesis import given
from hypothesis import strategies as st

from peer.bitfield import Bitfield, in_blocks
from peer.ids import PieceIndex
from peer.swarm.availability import Availability

SIZE = 9


@given(
    st.lists(
        st.tuples(
            st.sets(st.integers(0, SIZE - 1)),
            st.lists(st.sets(st.integers(0, SIZE - 1)), max_size=3),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_counts_are_the_sum_over_connected_peers(
    peers: list[tuple[set[int], list[set[int]], bool]],
) -> None:
    availability = Availability(SIZE)
    present: list[Bitfield] = []
    for start, gains, leaves in peers:
        bits = Bitfield(SIZE)
        for piece in start:
            bits.add(piece)
        availability.join(bits)
        for gained in gains:
            if fresh := bits.add_blocks(in_blocks(gained)):
                availability.gain(fresh, bits)
        if leaves:
            availability.leave(bits)
        else:
            present.append(bits)
        for piece in range(SIZE):
            assert availability(PieceIndex(piece)) == sum(piece in other for other in present)
