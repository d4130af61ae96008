"""SGG's step by the Triton kernel beside the plain path; prints what agreed.

``cpu`` runs it in Triton's interpreter, for which TRITON_INTERPRET=1 must be set; ``cuda`` on the GPU.
"""

import sys

import torch
from sgg_cases import feed
from torch.optim import SGD, Adam, AdamW

from regrad.optim import sgg_triton
from regrad.optim.sgg import SGG

DEVICE = sys.argv[1]
SHAPES = [(64, 65), (16,), (3, 5), (16, 32), (513,), (1, 4096)]  # less than a piece of 512, one, one and a bit
BASES = {
    "AdamW fused": lambda p: AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "AdamW": lambda p: AdamW(p, lr=0.01, weight_decay=0.1),
    "Adam, maximize": lambda p: Adam(p, lr=0.01, weight_decay=0.1, maximize=True),
    "two groups": lambda p: AdamW([{"params": p[:2], "lr": 0.02}, {"params": p[2:], "weight_decay": 0.0}], lr=0.01),
}
REFUSED = {"amsgrad": lambda p: AdamW(p, lr=0.01, amsgrad=True), "SGD": lambda p: SGD(p, lr=0.01)}
calls: list[int] = []


def parameters():
    random = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=random).to(DEVICE)) for shape in SHAPES]


def trained(base, step_count, *, compiled, skip=None):
    """Parameters and moments after some steps; one parameter may be without gradient in one of them."""
    params = parameters()
    optimizer = SGG(base(params), interval=3, compiled=compiled)
    for step in range(step_count):
        feed_on(params, step)
        if step == skip:
            params[3].grad = None
        versions, before = [p._version for p in params if p.grad is not None], len(calls)
        optimizer.step()
        if len(calls) > before:
            moved = [p for p in params if p.grad is not None]
            assert all(p._version > version for p, version in zip(moved, versions, strict=True))
    names = ("exp_avg", "exp_avg_sq", "step")
    state = [optimizer.base.state[p][name] for p in params for name in names if name in optimizer.base.state[p]]
    return [p.detach() for p in params], state


def feed_on(params, step):
    """The same gradients on every device."""
    twins = [p.detach().cpu() for p in params]
    feed(twins, step)
    for p, twin in zip(params, twins, strict=True):
        p.grad = twin.grad.to(DEVICE)


def count(*given):
    calls.append(1)
    return STEP(*given)


STEP, sgg_triton.kernel_step = sgg_triton.kernel_step, count
if DEVICE == "cpu":
    sgg_triton.DEVICES, sgg_triton.check = ("cpu",), lambda: None
for base in BASES.values():
    calls.clear()
    fast, fast_state = trained(base, 10, compiled=True, skip=7)
    assert len(calls) == 5, calls  # steps 4, 5, 7, 8 and 10
    plain, plain_state = trained(base, 10, compiled=False, skip=7)
    for found, expected in zip([*fast, *fast_state], [*plain, *plain_state], strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
calls.clear()
for base in REFUSED.values():
    fast, plain = (trained(base, 8, compiled=compiled)[0] for compiled in (True, False))
    assert all(torch.equal(p, q) for p, q in zip(fast, plain, strict=True))
assert not calls
# A gradient that lies askew in a buffer of others, as those of a distributed wrapper may.
params = parameters()
optimizer = SGG(AdamW(params, lr=0.01), interval=1, compiled=True)
feed_on(params, 0)
optimizer.step()
params[0].grad = torch.randn(params[0].numel() + 1, device=DEVICE)[1:].view_as(params[0])
assert not sgg_triton.takes(optimizer.base, {})
sys.stdout.write("agreed\n")
