"""Checks of hyperparameters say the name, the value and the range, and let nothing odd through."""

import math

import numpy as np
import pytest
import torch

from regrad.transforms import checks

NEVER_A_NUMBER = [math.nan, math.inf, -math.inf, True, False, None, "0.1", 1j, [0.1], torch.ones(2, 2)]


@pytest.mark.parametrize("value", [*NEVER_A_NUMBER, 0, -0.0, -1e-300])
def test_positive_refuses_and_says_what_is_allowed(value):
    with pytest.raises(ValueError, match=r"^eps must be a finite number > 0, got ") as caught:
        checks.positive("eps", value)
    assert " ".join(repr(value).split()) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [*NEVER_A_NUMBER, -1e-300])
def test_non_negative_refuses_and_says_what_is_allowed(value):
    with pytest.raises(ValueError, match=r"^weight_decay must be a finite number >= 0, got "):
        checks.non_negative("weight_decay", value)


@pytest.mark.parametrize(
    "value",
    [*NEVER_A_NUMBER, -0.1, torch.tensor(math.nan), torch.tensor(-1.0), torch.tensor(True), torch.tensor(1j)],
)
def test_learning_rate_refuses(value):
    with pytest.raises(ValueError, match=r"^lr must be"):
        checks.learning_rate("lr", value)


@pytest.mark.parametrize("value", [0, 0.1, np.float32(0.1), torch.tensor(0.1), torch.tensor([0.0])])
def test_learning_rate_accepts_numbers_and_one_element_tensors(value):
    checks.learning_rate("lr", value)


def test_only_a_learning_rate_may_be_a_tensor():
    with pytest.raises(ValueError, match="eps"):
        checks.non_negative("eps", torch.tensor(0.1))


@pytest.mark.parametrize("value", [*NEVER_A_NUMBER[:6], -1e-9, 1, 1.5])
def test_in_range_refuses_and_prints_open_and_closed_ends(value):
    with pytest.raises(ValueError, match=r"^momentum must be a finite number in \[0, 1\), got "):
        checks.in_range("momentum", value, 0, 1, open_high=True)


def test_in_range_closed_and_open_ends():
    checks.in_range("q", 0, 0, 1)
    checks.in_range("q", 1, 0, 1)
    checks.in_range("q", 1e300, 0, math.inf)
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        checks.in_range("q", 0, 0, 1, open_low=True)


@pytest.mark.parametrize("value", [0.9, (0.9,), (0.9, 1.0), (0.9, math.nan), (True, 0.9), "ab", None])
def test_betas_refuses(value):
    with pytest.raises(ValueError, match=r"^betas"):
        checks.betas("betas", value)


@pytest.mark.parametrize("value", [0, 1.0, True, None, math.nan, "1"])
def test_integer_at_least_refuses(value):
    with pytest.raises(ValueError, match=r"^window must be an integer >= 1, got "):
        checks.integer_at_least("window", value, 1)


def test_one_of_lists_the_choices_and_does_not_take_one_for_true():
    with pytest.raises(ValueError, match=r"^placement must be one of 'ema', 'batch', got 'late'$"):
        checks.one_of("placement", "late", ("ema", "batch"))
    with pytest.raises(ValueError, match="maximize must be one of True, False, got 1"):
        checks.flag("maximize", 1)
    with pytest.raises(ValueError, match="foreach must be one of True, False, None, got 'yes'"):
        checks.optional_flag("foreach", "yes")


def test_good_values_pass_silently():
    checks.positive("eps", 1e-300)
    checks.non_negative("eps", 0)
    checks.in_range("momentum", 0.9, 0, 1, open_high=True)
    checks.betas("betas", [0.0, 0.999])
    checks.betas("betas", (0.0, 0.9, 0.99), 3)
    checks.integer_at_least("window", np.int64(1), 1)
    checks.one_of("placement", "ema", ("ema",))
    checks.flag("maximize", False)
    checks.optional_flag("foreach", None)
