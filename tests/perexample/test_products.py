"""The matrix product that replaces the ordinary weight gradient's: which library, and that it is the same product."""

import pytest
import torch

from regrad.perexample import products
from regrad.perexample.engine import gradient_statistics
from regrad.perexample.products import onednn_available, onednn_is_faster, prefers_onednn, product

needs_onednn = pytest.mark.skipif(not onednn_available(), reason="this build of torch has no oneDNN product")


@pytest.fixture(autouse=True)
def processor_with_a_fast_onednn(request, monkeypatch):
    if "described" not in request.fixturenames:
        monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


@pytest.fixture
def described(tmp_path):
    """Write a description of two processors as Linux does; return whether oneDNN is taken for the faster one."""

    def ask(vendor, family):
        lines = f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\n\n"
        path = tmp_path / f"{vendor}-{family}"
        path.write_text(2 * lines, encoding="utf-8")
        return onednn_is_faster(path)

    return ask


def test_onednn_is_for_amds_processors_with_a_wide_data_path(described, tmp_path):
    assert described("AuthenticAMD", 26)
    assert not described("AuthenticAMD", 25)
    assert not described("GenuineIntel", 26)
    assert not described("AuthenticAMD", "")
    assert not onednn_is_faster(tmp_path / "absent")


def test_blas_writes_where_it_is_told(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: False)
    left, right, out = torch.randn(1024, 4), torch.randn(4, 1024), torch.empty(1024, 1024)
    assert product(left, right, out) is out
    torch.testing.assert_close(out, left @ right)


@needs_onednn
@pytest.mark.parametrize("shape", [(96, 128, 100), (1024, 1, 1024), (768, 3, 512)])
@pytest.mark.parametrize("transposed", [False, True])
def test_onednns_product_of_strided_factors_is_the_product(shape, transposed):
    o, t, i = shape
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(t, o, generator=generator).t() if transposed else torch.randn(o, t, generator=generator)
    right = torch.randn(t, i, generator=generator)
    if o * t * i >= 1 << 20:
        assert prefers_onednn(left, right)
    found = product(left, right)
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), left.double() @ right.double(), rtol=1e-5, atol=1e-5 * t**0.5)


def test_small_wide_and_foreign_products_stay_with_torch(monkeypatch):
    left, right = torch.ones(1024, 2), torch.ones(2, 1024)
    assert prefers_onednn(left, right) == onednn_available()
    assert not prefers_onednn(left.double(), right.double())
    assert not prefers_onednn(left.bfloat16(), right.bfloat16())
    assert not prefers_onednn(left[:8], right)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not prefers_onednn(left, right)
    monkeypatch.setattr(products, "onednn_available", lambda: False)
    assert not prefers_onednn(left, right)


@needs_onednn
@pytest.mark.parametrize("shape", [(5, 700), (6, 32, 700)])
def test_both_libraries_give_the_same_statistics_and_one_of_them_is_onednn(shape, monkeypatch):
    torch.manual_seed(0)
    model = torch.nn.Linear(700, 600)
    batch = torch.randn(shape)
    calls = []

    def losses(model, batch):
        return model(batch).square().flatten(1).mean(1)

    def counted(left, right):
        calls.append(prefers_onednn(left, right))
        return calls[-1]

    names = ["mean", "mean_square", "mean_sign", "norm"]
    for module in ("products", "folding"):
        monkeypatch.setattr(f"regrad.perexample.{module}.prefers_onednn", counted)
    one = gradient_statistics(model, losses, batch, names)
    assert any(calls)
    with torch.backends.mkldnn.flags(enabled=False):
        other = gradient_statistics(model, losses, batch, names)
    for name in ("mean", "mean_square"):
        torch.testing.assert_close(one[name]["weight"], other[name]["weight"], rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(one["norm"], other["norm"])
    assert (one["mean_sign"]["weight"] != other["mean_sign"]["weight"]).double().mean() < 1e-3
