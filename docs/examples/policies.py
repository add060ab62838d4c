"""Policies to begin with. Each class is one; try them against what a node does, in either world:

    lab tournament free-riders --policies rarest,docs/examples/policies.py:RandomPieces --world small
    lab simulate textbook --policy docs/examples/policies.py:CommonestFirst

docs/scenarios.md says what each method is given and must return.
"""


class RandomPieces:
    """Any piece, as likely as any other."""

    def choose_piece(self, pieces, copies, rng):
        return rng.choice(pieces)


class FirstPieces:
    """In order, as `in-order` is: nobody's hint that another piece would be better changes anything."""

    takes_hints = False

    def choose_piece(self, pieces, copies, rng):
        return pieces[0]


class CommonestFirst:
    """The opposite of rarest first: first what everybody holds already, last what hardly anybody does."""

    def choose_piece(self, pieces, copies, rng):
        most = max(map(copies, pieces))
        return rng.choice([piece for piece in pieces if copies(piece) == most])


class GiversOnly:
    """Tit for tat and nothing else: no slot for whoever has not given yet, unless we have everything."""

    def choose_peers(self, peers, slots, seeding, rng):
        if seeding:
            return rng.sample(peers, min(slots, len(peers)))
        givers = [peer for peer in peers if peer.received_bytes]
        return sorted(givers, key=lambda peer: -peer.received_rate)[:slots]


class Loyal:
    """Goes on serving whom it has served before: an object remembers, since each peer has one of its own."""

    def __init__(self):
        self.friends = set()

    def choose_peers(self, peers, slots, seeding, rng):
        chosen = [peer for peer in peers if peer.link in self.friends][:slots]
        others = [peer for peer in peers if peer.link not in self.friends]
        chosen += rng.sample(others, min(slots - len(chosen), len(others)))
        self.friends.update(peer.link for peer in chosen)
        return chosen


class FewestLinks:
    """The tracker sends newcomers to those that know the fewest others."""

    def introduce(self, peers, count, rng):
        return sorted(peers, key=lambda peer: peer.links)[:count]
