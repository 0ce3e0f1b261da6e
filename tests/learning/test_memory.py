"""What a run takes at one time, by what it holds while it learns and at the end."""

import pytest

from tastemaker.train import Memory

LEARNING = {"weights": 50, "gradients": 10, "optimiser": 20, "activations, about": 30}


@pytest.mark.parametrize(
    ("full", "total"),
    [
        (0, 110),  # 50 + 10 + 20 + 30
        (35, 110),  # at the end 50 + 20 + 35 = 105
        (100, 170),  # at the end 50 + 20 + 100
    ],
)
def test_the_end_of_4_bits_has_no_gradients_and_no_activations(
    full: int, total: int
) -> None:
    parts = LEARNING | ({"full precision at the end": full} if full else {})
    memory = Memory(7, 7, parts, "cpu", free=120)
    assert memory.total == total
    assert memory.fits is (total <= 120)
    name = "at one time" if full else "together"
    assert f"  {name:24} {f'{total} bytes':>10}" in str(memory)
