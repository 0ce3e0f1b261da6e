import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import fingerprint, fingerprints, lot


def test_is_the_blake2b_of_the_stripped_text() -> None:
    # python3 -c "import hashlib; print(hashlib.blake2b(b'a film', digest_size=8).hexdigest())"
    assert fingerprint("a film") == 0x2C0C8512C2AD29F6
    assert fingerprint(" \n a film\t") == fingerprint("a film")


def test_differs_for_inner_white_space_and_case() -> None:
    assert (
        len(
            {
                fingerprint("a film"),
                fingerprint("a  film"),
                fingerprint("A film"),
                fingerprint("afilm"),
            }
        )
        == 4
    )


@given(st.text(st.characters()))
def test_any_string_has_a_name_of_64_bits(text: str) -> None:
    assert 0 <= fingerprint(text) < 2**64
    assert fingerprint(text) == fingerprint(text.strip())


def test_half_a_surrogate_has_a_name() -> None:
    assert fingerprint("\ud800") != fingerprint("\ud801")


def test_an_array_holds_the_same_names() -> None:
    texts = ["one", "two", "电影很好"]
    names = fingerprints(iter(texts))
    assert names.dtype == np.uint64
    assert names.tolist() == [fingerprint(text) for text in texts]
    assert fingerprints([]).shape == (0,)


def test_a_lot_is_the_same_in_another_process() -> None:
    code = "from tastemaker.data import lot; print(lot(3, 'split', 'a film'))"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert int(process) == lot(3, "split", "a film")


def test_a_lot_depends_on_seed_purpose_and_key() -> None:
    assert (
        len(
            {
                lot(0, "split", "a"),
                lot(1, "split", "a"),
                lot(0, "limit", "a"),
                lot(0, "split", "b"),
            }
        )
        == 4
    )


def test_lots_are_uniform() -> None:
    shares = np.array([lot(0, "split", str(key)) for key in range(10_000)]) / 2**64
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert np.mean(shares < 0.1) == pytest.approx(0.1, abs=0.015)
