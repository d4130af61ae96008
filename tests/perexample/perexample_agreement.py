"""How the tests compare a method with the definition."""

import torch

from regrad.perexample.engine import gradient_statistics
from regrad.perexample.requests import clipped_mean

ALL = ["mean", "mean_square", "variance", "mean_sign", "mean_abs", "norm", clipped_mean(0.5)]


def assert_same(one, other, *, rtol=1e-12, signs=True):
    """Equal relative to the largest entry of each tensor: what cancels has no relative accuracy of its own."""
    assert one.keys() == other.keys()
    for key, values in one.items():
        pairs = [(values, other[key])] if isinstance(values, torch.Tensor) else zip_named(values, other[key])
        for a, b in pairs:
            if key == "mean_sign" and not signs:
                continue
            torch.testing.assert_close(a, b, rtol=0, atol=rtol * max(1e-30, float(a.abs().max()) if a.numel() else 0))


def zip_named(values, others):
    assert list(values) == list(others)
    return [(values[name], others[name]) for name in values]


def check_against_the_loop(model, losses, batch, *, method="graph", statistics=None, rtol=1e-12, **options):
    statistics = ALL if statistics is None else statistics
    groups = {"group_size": options["group_size"]} if "group_size" in options else {}
    expected = gradient_statistics(model, losses, batch, statistics, method="loop", **groups)
    assert_same(expected, gradient_statistics(model, losses, batch, statistics, method=method, **options), rtol=rtol)
    return expected
