"""8-bit products: close to float32, and the same for a text whatever is scored beside it."""

import numpy as np
import pytest
import torch

from tastemaker.data import Example
from tastemaker.errors import UsageError
from tastemaker.fast import (
    Range,
    encode_packed,
    gains_by_int8,
    in_int8,
    parts_of,
    watch,
)
from tastemaker.fast.int8 import _Codes, _groups, _Product
from tastemaker.reward import Network

pytestmark = pytest.mark.skipif(
    not gains_by_int8(torch.device("cpu")), reason="this processor has no AVX-512 VNNI"
)

ENCODERS = ("bert", "roberta", "distilbert")


def _range_of(*values: torch.Tensor) -> Range:
    observed = Range()
    for value in values:
        observed.include(value)
    return observed


def _sequences(count: int, seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [
        random.integers(5, 300, size=random.integers(1, 60)).tolist()
        for _ in range(count)
    ]


def test_a_range_knows_least_greatest_and_mean_of_every_channel():
    observed = _range_of(
        torch.tensor([[[1.0, -4.0], [3.0, 0.0]]]), torch.tensor([[5.0, 1.0]])
    )
    assert observed.low.tolist() == [1, -4]
    assert observed.high.tolist() == [5, 1]
    assert observed.mean.tolist() == [3, -1]


def test_codes_give_back_values_to_half_a_step_and_stop_at_the_ends():
    values = torch.randn(500, 6) * torch.tensor([0.1, 1, 1, 3, 30, 1]) + 2
    codes = _Codes.of(_range_of(values), torch.randn(4, 6))
    back = (codes(values).float() - codes.zeros) * codes.steps
    assert ((back - values).abs() <= codes.steps * 0.501).all()
    assert codes(torch.tensor([[1e6, -1e6]]).repeat(1, 3)).tolist() == [[255, 0] * 3]


def test_a_product_of_codes_is_close_to_the_product():
    torch.manual_seed(0)
    values, weight, bias = torch.randn(50, 64) + 1, torch.randn(16, 64), torch.randn(16)
    observed = _range_of(values)
    codes = _Codes.of(observed, weight)
    product = _Product.of(weight, bias, codes, observed.mean)(codes(values))
    expected = values @ weight.T + bias
    assert (product - expected).std() / expected.std() < 0.01


def test_hidden_units_are_grouped_by_their_ranges():
    wide = _range_of(
        torch.randn(1000, 64) * torch.ones(64).index_fill(0, torch.tensor([3]), 50)
    )
    groups = _groups(wide)
    assert groups[0].tolist() == [3]
    assert [len(units) for units in groups] == [1, 10, 21, 32]
    assert sorted(torch.cat(groups).tolist()) == list(range(64))


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("family", ENCODERS)
@torch.inference_mode()
def test_an_encoder_in_int8_ranks_like_float32(make_module, family, activation):
    encoder = parts_of(make_module(family, activation=activation))
    assert encoder is not None

    small = in_int8(
        encoder,
        watch(
            encoder,
            lambda watched: [encode_packed(watched, [s]) for s in _sequences(40, 1)],
        ),
    )
    texts = _sequences(60, 2)
    expected, of_int8 = (
        torch.cat([encode_packed(e, [ids])[:, 0] for ids in texts]).tolist()
        for e in (encoder, small)
    )
    assert np.corrcoef(expected, of_int8)[0, 1] > 0.95
    assert expected != of_int8


@pytest.fixture
def calibrated(make_folder):
    """A network that has watched itself read."""
    network = Network.open(str(make_folder("bert")))
    network.calibrate([Example("good " * n + "film, " + "bad " * n) for n in range(30)])
    return network


def test_a_score_in_int8_hangs_on_the_text_alone(calibrated):
    examples = [Example("good " * n + "film") for n in (1, 2, 3, 3, 3, 9, 20, 99)]
    together = calibrated.score(examples, precision="int8").values
    alone = [calibrated.score([e], precision="int8").values[0] for e in examples]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    backwards = calibrated.score(
        examples[::-1], precision="int8", batch_tokens=16
    ).values[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-6)
    assert np.abs(together - calibrated.score(examples).values).max() > 1e-5


def test_int8_follows_the_weights(calibrated):
    example = [Example("A film about a lighthouse.")]
    before = calibrated.score(example, precision="int8").values[0]
    with torch.no_grad():
        for weight in calibrated.module.parameters():
            weight.mul_(1.1)
    after = calibrated.score(example, precision="int8").values[0]
    assert abs(after - before) > 1e-3
    assert after == pytest.approx(calibrated.score(example).values[0], abs=0.1)


def test_what_was_watched_is_saved(calibrated, tmp_path):
    examples = [Example("A film about a lighthouse."), Example("Good.")]
    calibrated.save(tmp_path)
    loaded = Network.load(tmp_path)
    for precision in ("int8", "fast"):
        scores = loaded.score(examples, precision=precision).values
        assert np.array_equal(
            scores, calibrated.score(examples, precision=precision).values
        )


def test_without_calibration_there_is_no_int8(make_folder):
    network = Network.open(str(make_folder("bert")))
    with pytest.raises(UsageError, match="was not calibrated for int8"):
        network.score([Example("A film.")], precision="int8")
    fast, exact = (
        network.score([Example("A film.")], precision=p).values
        for p in ("fast", "float32")
    )
    assert fast == pytest.approx(exact, abs=0.1)


def test_a_decoder_has_no_int8_form(make_folder):
    network = Network.open(str(make_folder("gpt2")))
    network.calibrate([Example("A film.")])
    with pytest.raises(UsageError, match="has no int8 form"):
        network.score([Example("A film.")], precision="int8")
