"""The harness finds planted bugs: here among seeds whose plans have what it takes; `make planted` looks from
seed 0 on, and leaves nothing out."""

from itertools import islice

import pytest

from tests.chaos.plan import Fault, draw
from tests.chaos.planted import BUGS, SEEDS, find

TAKES = {
    "record-before-sync": {Fault.POWER},
    "no-timeout": {Fault.SILENT},
    "leak-on-cancel": {Fault.CRASH},
    "accept-unsolicited": {Fault.UNSOLICITED},
    "resume-without-check": {Fault.POWER, Fault.LYING_SYNC},
    "skip-verify": {Fault.LIAR},
    "journal-never-synced": {Fault.POWER},
    "names-never-synced": {Fault.POWER},
    "spare-the-liar": {Fault.LIAR},
    "forget-the-partial": {Fault.CRASH},
    "dial-for-ever": {Fault.PARTITION},
    "dial-oneself": {Fault.GOSSIP},
    "let-the-crowd-in": {Fault.CROWD},
    "old-limit": {Fault.RELIMIT},
    "share-limit-unheard": {Fault.RELIMIT},
    "clean-up-too-much": {Fault.ONLY},
    "keep-the-old-link": {Fault.MOVE},
    "everybody-is-welcome": {Fault.TWO_ADDRESSES},
    "offer-what-is-gone": {Fault.ONLY},
}
"""Without these faults the bug does no harm."""

TRIES = 60


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    takes = TAKES.get(name, set())
    seeds = (seed for seed in range(SEEDS) if takes <= draw(seed).faults)
    assert find(name, islice(seeds, TRIES)) is not None
