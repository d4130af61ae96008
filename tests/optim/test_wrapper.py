import copy
import pickle

import pytest
import torch
from torch.optim import SGD, AdamW

from regrad.optim.wrapper import OptimizerWrapper, innermost


class HalvedGradients(OptimizerWrapper):
    """A small wrapper with state of awkward dtypes."""

    def before_step(self, params, grads, group):
        for p, g in zip(params, grads, strict=True):
            g.mul_(0.5)
            state = self.state[p]
            state["index"] = torch.full(p.shape, 200, dtype=torch.uint8)
            state["scale"] = torch.full((2,), 1.0 + 2**-20)


def parameter(dtype=torch.float32):
    p = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=dtype))
    p.grad = torch.tensor([4.0, 8.0], dtype=dtype)
    return p


def test_the_hook_sees_the_gradient_before_the_base_optimizer_does():
    p = parameter()
    HalvedGradients(SGD([p], lr=0.5)).step()
    assert p.tolist() == [0.0, -4.0]


def test_parameters_without_a_gradient_are_left_out():
    p, idle = parameter(), torch.nn.Parameter(torch.ones(1))
    optimizer = HalvedGradients(SGD([p, idle], lr=0.5))
    optimizer.step()
    assert idle not in optimizer.state
    assert idle.item() == 1


def test_the_closure_runs_once_with_gradients_enabled_and_its_loss_comes_back():
    p, calls = parameter(), []

    def closure():
        calls.append(torch.is_grad_enabled())
        return 7.5

    assert HalvedGradients(SGD([p], lr=0.5)).step(closure) == 7.5
    assert calls == [True]


def test_groups_are_shared_so_schedulers_and_new_groups_reach_both():
    p, q = parameter(), parameter()
    optimizer = HalvedGradients(AdamW([p], lr=1.0))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.1)
    optimizer.step()
    schedule.step()
    optimizer.add_param_group({"params": [q], "lr": 3.0})
    assert optimizer.param_groups is optimizer.base.param_groups
    assert [group["lr"] for group in optimizer.base.param_groups] == [pytest.approx(0.1), 3.0]
    assert optimizer.param_groups[1]["betas"] == (0.9, 0.999)
    optimizer.step()
    assert q in optimizer.base.state


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_comes_back_in_its_own_dtype(dtype):
    p = parameter(dtype)
    optimizer = HalvedGradients(AdamW([p]))
    optimizer.step()
    fresh = HalvedGradients(AdamW([parameter(dtype)]))
    fresh.load_state_dict(optimizer.state_dict())
    (state,) = fresh.state.values()
    assert state["index"].dtype == torch.uint8
    assert state["index"].tolist() == [200, 200]
    assert torch.equal(state["scale"], torch.full((2,), 1.0 + 2**-20))
    assert fresh.param_groups is fresh.base.param_groups
    assert fresh.param_groups[0]["params"][0] is next(iter(fresh.state))


def test_loaded_state_is_a_copy():
    p = parameter()
    optimizer, fresh = HalvedGradients(SGD([p], lr=1.0)), HalvedGradients(SGD([parameter()], lr=1.0))
    optimizer.step()
    fresh.load_state_dict(optimizer.state_dict())
    optimizer.state[p]["index"].zero_()
    assert next(iter(fresh.state.values()))["index"].tolist() == [200, 200]


def test_wrappers_nest_pickle_and_copy():
    p = parameter()
    optimizer = HalvedGradients(HalvedGradients(SGD([p], lr=1.0)))
    optimizer.step()
    assert p.tolist() == [0.0, -4.0]  # halved twice
    assert isinstance(innermost(optimizer), SGD)
    for twin in (pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        assert twin.param_groups is twin.base.param_groups is twin.base.base.param_groups
        twin.param_groups[0]["params"][0].grad = torch.tensor([4.0, 8.0])
        twin.step()
        assert twin.param_groups[0]["params"][0].tolist() == [-1.0, -6.0]
    nested = HalvedGradients(HalvedGradients(SGD([parameter()], lr=1.0)))
    nested.load_state_dict(optimizer.state_dict())


def test_what_cannot_be_wrapped_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"base must be an optimizer, as in .*, got list"):
        HalvedGradients([parameter()])
    with pytest.raises(ValueError, match="without a closure, got LBFGS"):
        HalvedGradients(torch.optim.LBFGS([parameter()]))
    with pytest.raises(ValueError, match="must be HalvedGradients's own"):
        HalvedGradients(SGD([parameter()], lr=1.0)).load_state_dict(SGD([parameter()], lr=1.0).state_dict())
