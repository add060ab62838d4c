"""The harness finds planted bugs: here by seeds that are known to; `make planted` looks from seed 0 on."""

import pytest

from tests.chaos.planted import BUGS, find

FOUND_AT = {
    "skip-verify": 9,
    "record-before-sync": 50,
    "off-by-one": 0,
    "no-timeout": 4,
    "ban-the-honest": 3,
    "double-unchoke": 1,
    "lost-have": 19,
    "leak-on-cancel": 5,
    "accept-unsolicited": 184,
    "resume-without-check": 98,
}
"""From `python -m tests.chaos.planted`, whenever plan.py draws other plans."""


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    seed = FOUND_AT[name]
    assert find(name, range(seed, seed + 1)) is not None, f"{name} is not found by seed {seed} any more"
