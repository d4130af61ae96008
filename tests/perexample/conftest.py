"""What the tests of per-example statistics share."""

import pytest
import torch


@pytest.fixture
def float64():
    """Double precision by default, and the same random numbers for every test."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)
