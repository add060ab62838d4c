"""Entries of a catalogue: whose they are, what is signed, which are legal."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer import limits
from peer.identity import is_signed, node_id_of
from peer.ids import ShareId
from peer.published import DOMAIN, PublishedShare, check_published, node_of_key, signed_bytes
from tests.catalogue_kit import publisher, share_id, signed

_names = st.text(st.characters(codec="utf-8"), max_size=20)
_ids = st.binary(min_size=32, max_size=32).map(ShareId)
_signed_parts = st.tuples(_names, _ids, st.integers(0, 2**43), st.integers(1, 2**63 - 1))


def test_the_node_id_of_a_raw_key_is_that_of_the_identity() -> None:
    for number in (1, 2, 3):
        identity = publisher(number)
        entry = signed("name", by=number)
        assert entry.node == identity.node_id == node_id_of(identity.private_key.public_key())
        assert node_of_key(entry.key) == entry.node


@given(_signed_parts, _signed_parts)
def test_what_is_signed_is_different_for_different_entries(
    one: tuple[str, ShareId, int, int], other: tuple[str, ShareId, int, int]
) -> None:
    assert (signed_bytes(*one) == signed_bytes(*other)) == (one == other)
    assert signed_bytes(*one).startswith(DOMAIN)


def test_any_change_breaks_the_signature() -> None:
    entry = signed("name", 7)
    assert is_signed(entry)
    other = signed("name", 7, by=2)
    changed: list[PublishedShare] = [
        replace(entry, name="names"),
        replace(entry, share=share_id(8)),
        replace(entry, size=6),
        replace(entry, serial=2),
        replace(entry, key=other.key),
        replace(entry, signature=other.signature),
        replace(entry, signature=bytes(64)),
        replace(entry, key=b"\xff" * 32),
        replace(entry, key=bytes(31)),
    ]
    assert not any(map(is_signed, changed))


def test_a_signature_of_the_same_bytes_without_the_domain_does_not_count() -> None:
    entry = signed("name")
    text = signed_bytes(entry.name, entry.share, entry.size, entry.serial)[len(DOMAIN) :]
    assert not is_signed(replace(entry, signature=publisher(1).private_key.sign(text)))


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", "a\\b", "x" * 241, "a\x1b[2J", "gp\u202ej.exe", "aux", "e\u0301"]
)
def test_names_that_no_file_may_have_cannot_be_published(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_published(replace(signed("good"), name=name))


def test_numbers_that_no_share_has_cannot_be_published() -> None:
    good = signed("good")
    check_published(good)
    for bad in (
        replace(good, size=-1),
        replace(good, size=limits.SHARE_BYTES_MAX + 1),
        replace(good, serial=0),
        replace(good, serial=limits.SERIAL_MAX + 1),
        replace(good, key=bytes(31)),
        replace(good, signature=bytes(63)),
    ):
        with pytest.raises(ValueError, match=r"size|serial|length"):
            check_published(bad)


def test_an_empty_share_and_fields_of_the_right_length_only_can_be_published() -> None:
    good = signed("good")
    check_published(replace(good, size=0))
    for changed in (
        replace(good, share=ShareId(good.share[:-1])),
        replace(good, key=good.key[:-1]),
        replace(good, signature=good.signature[:-1]),
    ):
        with pytest.raises(ValueError, match="wrong length"):
            check_published(changed)
