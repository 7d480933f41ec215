"""NKEYs are spelled as NATS spells them, and anything that is not a user's seed is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.bus.access import nkeys

SEED = "SUAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN7EY"
"""Of the key that is 32 times the byte 1; what belongs to it was computed with NATS' own library."""


def test_public_key_and_signature_equal_those_of_nats() -> None:
    """The server knows the key and checks the signature."""
    assert nkeys.public_key(SEED) == "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L"
    expected = b"cz5TjDSBtpHH5sPHg5aR0K17SjHK9PTvmVExMImbEovF/0r9n5vtloCcN64YIIRJzEbv9oTfcot1ACjyMWWjCQ=="
    assert nkeys.sign(SEED, "nonce") == expected


def test_seeds_are_fresh_and_usable() -> None:
    """No two are the same, and each has a user's public key."""
    one, two = nkeys.new_seed(), nkeys.new_seed()
    assert one != two
    assert one.startswith("SU")
    assert nkeys.public_key(one).startswith("U")


@pytest.mark.parametrize("text", ["", "SU", SEED[:-1] + "A", SEED.lower() + "!", "password", nkeys.public_key(SEED)])
def test_a_text_that_is_not_a_seed_is_refused(text: str) -> None:
    """The message says what a seed looks like."""
    with pytest.raises(nkeys.BadSeed, match="SU"):
        nkeys.public_key(text)


@given(st.integers(0, len(SEED) - 1), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_mistyped_letter_is_noticed(at: int, letter: str) -> None:
    """The checksum finds it."""
    mistyped = SEED[:at] + letter + SEED[at + 1 :]
    if mistyped != SEED and at < len(SEED) - 1:  # two bits of the last letter have no meaning
        with pytest.raises(nkeys.BadSeed):
            nkeys.public_key(mistyped)
