"""Signal-to-noise ratios: the argument's published shape, by hand, and against drawn distributions."""

import itertools
import math

import pytest
import torch

from regrad.transforms.placements import PLACEMENTS
from regrad.transforms.signal_to_noise import (
    mean_and_median_agree,
    per_example_snr,
    predicted_right_sign,
    predicted_snr,
    sample_skewness_and_kurtosis,
    sign_snr,
    skewness_and_kurtosis,
    split_batch_square,
)


def exact(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_the_split_by_hand():
    # gradients 1, 3, 5: mean 3, v = (4 + 0 + 4)/2 = 4; v/B = 4/3, 9 - 4/3 = 23/3
    variance = exact(4)
    signal, noise = split_batch_square(exact(3), variance, 3)
    torch.testing.assert_close(signal, exact(23 / 3))
    torch.testing.assert_close(noise, exact(4 / 3))
    # s = sqrt(23/3)/2 debiased, 3/2 not
    torch.testing.assert_close(per_example_snr(exact(3), variance, 3), exact(math.sqrt(23 / 12)))
    torch.testing.assert_close(per_example_snr(exact(3), variance, 3, debias=False), exact(1.5))


def test_the_split_is_unbiased():
    draws = 0.3 + 2 * torch.randn(20000, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signal, noise = split_batch_square(draws.mean(1), draws.var(1), 8)
    # sd of one signal estimate is about sqrt(2) * 4/8 = 0.7; 20,000 of them: 0.005
    assert float(signal.mean()) == pytest.approx(0.09, abs=0.02)
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(signal.min()) < 0


def test_snr_of_silent_and_of_certain_coordinates():
    s = per_example_snr(exact(0, 2, 0), exact(0, 0, 1), 4)
    assert s.tolist() == [0.0, math.inf, 0.0]


def test_the_sign_loses_a_fifth_of_a_small_ratio_and_gains_above_1_187():
    # E sign = erf(s/√2) ≈ sqrt(2/π) s for small s: 0.7979 s
    assert float(sign_snr(exact(1e-12))) == pytest.approx(math.sqrt(2 / math.pi) * 1e-12, rel=1e-12)
    assert float(sign_snr(exact(0))) == 0
    assert float(sign_snr(exact(1.187))) == pytest.approx(1.187, abs=5e-4)
    assert float(sign_snr(exact(2))) == pytest.approx(3.20, abs=0.005)
    assert float(sign_snr(exact(3))) == pytest.approx(13.6, abs=0.05)


def test_the_sign_ratio_stays_accurate_where_one_minus_erf_has_no_digits_left():
    # 1 - erf² rounds to 0 beyond s = 8.3; asymptotically h = exp(x²/2) (sqrt(pi) x / 2)^½ (1 + O(x^-2))
    for s in (9.0, 30.0, 50.0):
        x = s / math.sqrt(2)
        asymptote = math.exp(x * x / 2) * math.sqrt(math.sqrt(math.pi) * x / 2) * (1 + 1 / (4 * x * x))
        assert float(sign_snr(exact(s))) == pytest.approx(asymptote, rel=2 / x**4)
    assert sign_snr(exact(1e3)).item() == math.inf
    assert float(sign_snr(torch.tensor(2.0))) == pytest.approx(3.2007, abs=1e-3)
    grid = torch.linspace(0.001, 40, 5000, dtype=torch.float64)
    assert bool(((sign_snr(grid) / grid).diff() > 0).all())


@pytest.mark.parametrize(
    ("s", "example", "batch", "ema"),
    # κ = sqrt(19), B = 32; κ sqrt(32) = 24.658: 24.658 h(s), 4.3589 h(5.657 s), h(24.658 s)
    [(0.005, 0.0984, 0.0984, 0.0986), (0.1, 1.970, 2.067, 5.985), (0.5, 10.22, 44.9, 8.88e16)],
)
def test_predicted_ratios_by_hand(s, example, batch, ema):
    found = [float(predicted_snr(exact(s), p, batch_size=32, momentum=0.9)) for p in PLACEMENTS]
    assert found == pytest.approx([example, batch, ema], rel=3e-3)


def test_later_is_never_worse_for_gaussian_gradients_and_groups_lie_between():
    s = torch.linspace(1e-4, 1, 100, dtype=torch.float64)
    ladder = [predicted_snr(s, "example", batch_size=16, momentum=0.9, group_size=k) for k in (1, 2, 4, 8, 16)]
    ladder += [predicted_snr(s, p, batch_size=16, momentum=0.9) for p in ("batch", "ema")]
    torch.testing.assert_close(ladder[4], ladder[5])
    for early, late in itertools.pairwise(ladder):
        assert bool((late >= early * (1 - 1e-12)).all())
    torch.testing.assert_close(ladder[0][0] / ladder[-1][0], exact(1.0)[0], rtol=1e-4, atol=0)


def test_probability_of_the_right_sign_by_hand():
    # B = 4, b = 0.6: κ = 2, so ema sees 4 s: Φ(1) = 0.841345 at s = 0.25
    assert float(predicted_right_sign(exact(0.25), "ema", batch_size=4, momentum=0.6)) == pytest.approx(
        0.841345, abs=1e-6
    )
    for placement in PLACEMENTS:
        assert float(predicted_right_sign(exact(0), placement, batch_size=4, momentum=0.6)) == 0.5
        assert float(predicted_right_sign(exact(9), placement, batch_size=4, momentum=0.6)) == 1.0


def test_skewness_and_kurtosis_by_hand():
    # 0, 0, 0, 4: mean 1, σ² = (3 + 9)/4 = 3, third (-3 + 27)/4 = 6, fourth (3 + 81)/4 = 21
    samples = exact(0, 0, 0, 4).unsqueeze(1)
    raw = tuple(samples.pow(k).mean(0) for k in (1, 2, 3, 4))
    for skewness, kurtosis in (skewness_and_kurtosis(raw), sample_skewness_and_kurtosis(samples)):
        assert float(skewness) == pytest.approx(6 / 3**1.5)
        assert float(kurtosis) == pytest.approx(21 / 9)


def test_skewness_and_kurtosis_of_known_distributions():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(100_000, 2, generator=generator, dtype=torch.float64)
    skewness, kurtosis = sample_skewness_and_kurtosis(normal + 1e6)  # centring keeps the digits
    torch.testing.assert_close(skewness, exact(0, 0), atol=0.05, rtol=0)
    torch.testing.assert_close(kurtosis, exact(3, 3), atol=0.1, rtol=0)
    exponential = -torch.rand(400_000, 1, generator=generator, dtype=torch.float64).clamp_min(1e-12).log()
    skewness, kurtosis = sample_skewness_and_kurtosis(exponential)
    assert float(skewness) == pytest.approx(2, abs=0.15)
    assert float(kurtosis) == pytest.approx(9, abs=1.5)


def test_mean_and_median_agreement_by_hand():
    samples = torch.tensor(
        # agree | mean +, median - | sparse: median 0, mean + | silent | mean +, middle two are -4 and 3
        [[1.0, -1, 0, 0, -4], [2, -1, 0, 0, -5], [3, 9, 0, 0, 3], [-1, -1, 1, 0, 9]]
    )
    assert mean_and_median_agree(samples).tolist() == [True, False, False, True, False]
    assert mean_and_median_agree(samples[:3]).tolist() == [True, False, True, True, True]


@pytest.mark.parametrize("batch_size", [0, 1, True, 2.0])
def test_a_variance_needs_two_examples(batch_size):
    with pytest.raises(ValueError, match="batch_size must be an integer >= 2"):
        split_batch_square(exact(1), exact(1), batch_size)
