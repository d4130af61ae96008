"""Faults seeded into the optimizers' source, one at a time: the tests must notice.

A mutant is one replaced line of one module. The modules are executed afresh with the fault in, under their
own names in ``sys.modules``; then the tests about them, and the conformance properties, are run against
them until one fails. Without a fault, all of them must pass, or a failure would prove nothing.
"""

import dataclasses
import itertools
import sys
import types
from pathlib import Path

import pytest

from conformance import TABLE
from conformance_properties import BEYOND, TORCH_LIST

TESTS = Path(__file__).parent
SRC = TESTS.parent / "src" / "regrad"
# in the order of their imports
MODULES = [
    "transforms.checks", "transforms.placements", "transforms.sign", "transforms.adam_family",
    "transforms.clip_statistics", "transforms.signal_to_noise", "transforms.resampling",
    "optim.statistic_inputs", "optim.sign_sgd", "optim.micro_adam",
]  # fmt: skip
SUITES = {
    "transforms.placements": ["transforms/test_sign.py"],
    "transforms.sign": ["transforms/test_sign.py"],
    "transforms.adam_family": ["transforms/test_adam_family.py"],
    "transforms.clip_statistics": ["transforms/test_adam_family.py"],
    "optim.statistic_inputs": ["optim/test_micro_adam_inputs.py", "optim/test_micro_adam.py"],
    "optim.micro_adam": ["optim/test_micro_adam.py"],
    "transforms.signal_to_noise": ["transforms/test_signal_to_noise.py"],
    "transforms.resampling": ["transforms/test_resampling.py"],
}
ANY_FAILURE = (Exception, pytest.fail.Exception)  # pytest's own failure is no Exception
CLASSES = {"optim.sign_sgd": "SignSGD", "optim.micro_adam": "MicroAdam"}
FLOORED = 'nu, state["clipped_share"] = bounded_sum(square, state["exp_avg_excess"], floor)'
DECAY = 'param.mul_(1 - lr * group["weight_decay"])'
MUTANTS = [
    ("transforms.sign", 'grad.sign() if placement == "batch" else', 'grad.sign() if placement == "ema" else'),
    ("transforms.sign", 'direction.sign() if placement == "ema"', 'direction.sign() if placement != "batch"'),
    ("transforms.sign", "average.lerp_(direction, 1 - momentum)", "average.lerp_(direction, momentum)"),
    ("transforms.sign", "average.lerp_(direction, 1 - momentum)", "average.lerp(direction, 1 - momentum)"),
    ("transforms.sign", "(averages, directions, 1 - momentum)", "(averages, directions, 0.1)"),
    ("transforms.placements", "math.sqrt((1 + momentum) / (1 - momentum))", "math.sqrt(1 / (1 - momentum))"),
    ("transforms.placements", "math.sqrt(groups if", "math.sqrt(group_size if"),
    ("transforms.adam_family", "addcmul_(grad, grad, value=1 - beta)", "addcmul_(grad, grad, value=beta)"),
    ("transforms.adam_family", "** step) ** 0.5).add_(eps)", "** step + eps) ** 0.5)"),
    ("transforms.adam_family", "torch.maximum(raw, low), clipped", "raw.clamp_min(0), clipped"),
    ("transforms.adam_family", "(raw < low).sum()", "(raw < 0).sum()"),
    ("transforms.adam_family", "(1 - beta) / (1 + beta) *", "(1 - beta) *"),
    ("transforms.adam_family", '"micro": 1.0, "variance": math.inf', '"micro": math.inf, "variance": 1.0'),
    ("transforms.clip_statistics", '"variance": 2', '"variance": 1'),
    ("optim.statistic_inputs", "scale=c - 1 / batch.batch_size", "scale=c"),
    ("optim.statistic_inputs", "may_be_negative=c < 1", "may_be_negative=False"),
    ("optim.statistic_inputs", "mean.data_ptr() != param.grad.data_ptr()", "False"),
    ("optim.statistic_inputs", "tensor.shape != param.shape", "False"),
    ("optim.micro_adam", FLOORED, FLOORED + '; state["exp_avg_excess"].clamp_min_(0)'),
    ("optim.micro_adam", "alpha=(1 - beta) * sample.scale", "alpha=sample.scale"),
    ("optim.micro_adam", 'lerp_(grad, 1 - group["betas"][0])', 'lerp_(grad, 1 - group["betas"][1])'),
    ("optim.micro_adam", DECAY, 'grad = grad + group["weight_decay"] * param'),
    ("optim.micro_adam", '-grad if group["maximize"] else grad', "grad"),
    ("optim.micro_adam", 'state["step"] += 1', 'state["step"] = 1'),
    ("transforms.signal_to_noise", "/ (upper * (1 + torch.erf(x))).sqrt()", "/ (upper * 2).sqrt()"),
    ("transforms.signal_to_noise", "kappa * math.sqrt(groups) * sign_snr", "math.sqrt(groups) * sign_snr"),
    ("transforms.signal_to_noise", "sign_snr(kappa * math.sqrt(batch_size)", "sign_snr(kappa * (batch_size)"),
    ("transforms.signal_to_noise", "noise = variance / batch_size", "noise = variance / (batch_size - 1)"),
    ("transforms.signal_to_noise", "last - upper", "upper"),
    ("transforms.resampling", ".mean(1).sign().mean(0)", ".sign().mean(1).mean(0)"),
    ("transforms.resampling", "right += update.sign() == target", "right += update == target"),
    ("transforms.resampling", "total / steps * target", "total / steps"),
]  # fmt: skip
BOOKKEEPING = [
    ("optim.sign_sgd", "averages[i], **how), alpha=-lr)", "averages[i], **how), alpha=lr)"),
    ("optim.sign_sgd", 'decay = 1 - lr * group["weight_decay"]', 'decay = 1 - group["weight_decay"]'),
    ("optim.sign_sgd", "grads = [-grad for grad in grads]", "grads = [grad.neg_() for grad in grads]"),
    ("optim.sign_sgd", 'lr = float(group["lr"])', 'lr = float(self.defaults["lr"])'),
    ("optim.sign_sgd", "loss = closure()", "closure()"),
    ("optim.sign_sgd", "loss = closure()", "closure(), (loss := closure())"),
    ("optim.sign_sgd", "state = self.state[param]", "state = vars(param)"),
    ("optim.sign_sgd", "grads = [_real(_dense_grad(p))", "grads = [(_dense_grad(p))"),
    ("optim.sign_sgd", "if isinstance(param_group, dict):", "if False:"),
    ("optim.sign_sgd", "torch.zeros_like(param, ", "torch.rand_like(param, "),
    ("optim.sign_sgd", "with torch.enable_grad():\n", "if True:\n"),
    ("optim.sign_sgd", "if p.grad is not None]", "]"),
    ("optim.sign_sgd", "loss = None\n", "loss = torch.rand(())\n"),
    ("optim.sign_sgd", '{**self.defaults, **param_group}', "self.defaults"),
    ("optim.sign_sgd", "is_complex() else tensor", "is_complex() else tensor.contiguous()"),
]


def with_fault(monkeypatch, fault):
    """The modules of ``MODULES``, executed afresh, one of them with the fault in."""
    for name in MODULES:
        source = (SRC / f"{name.replace('.', '/')}.py").read_text()
        if fault and name == fault[0]:
            assert fault[1] in source, f"nothing to replace in {name}: {fault[1]}"
            source = source.replace(fault[1], fault[2])
        module = types.ModuleType(f"regrad.{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, f"<{name} with a fault>", "exec"), vars(module))


def cases(function):
    """The keyword arguments of every run of a parametrized test function."""
    choices = []
    for mark in getattr(function, "pytestmark", []):
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else mark.args[0]
        values = mark.args[1] if len(names) > 1 else [(value,) for value in mark.args[1]]
        choices.append([dict(zip(map(str.strip, names), value, strict=True)) for value in values])
    return [dict(itertools.chain.from_iterable(map(dict.items, c))) for c in itertools.product(*choices)]


def run_suites(names):
    for path in (TESTS / name for name in names):
        suite = types.ModuleType(path.stem)
        exec(compile(path.read_text(), str(path), "exec"), vars(suite))
        for name, function in list(vars(suite).items()):
            for arguments in cases(function) if name.startswith("test_") else []:
                function(**arguments)


def run_properties(module):
    """The conformance suite on the entries whose optimizer is ``module``'s class, as executed last."""
    for entry in TABLE:
        if entry.make.__name__ == CLASSES[module]:
            ours = dataclasses.replace(entry, make=getattr(sys.modules[f"regrad.{module}"], CLASSES[module]))
            for name, prop in {**TORCH_LIST, **BEYOND}.items():
                if name not in entry.skips:
                    prop(ours, "cpu")


def test_without_a_fault_everything_passes(monkeypatch):
    with_fault(monkeypatch, None)
    for module in CLASSES:
        run_properties(module)
    run_suites(sorted(set(itertools.chain.from_iterable(SUITES.values()))))


@pytest.mark.parametrize("fault", MUTANTS, ids=lambda fault: f"{fault[0]}: {fault[2][:50]}")
def test_the_fault_is_noticed(monkeypatch, fault):
    with_fault(monkeypatch, fault)
    with pytest.raises(ANY_FAILURE):
        run_suites(SUITES[fault[0]])


@pytest.mark.parametrize("fault", BOOKKEEPING, ids=lambda fault: fault[2][:50])
def test_the_conformance_suite_alone_notices_faults_of_bookkeeping(monkeypatch, fault):
    with_fault(monkeypatch, fault)
    with pytest.raises(ANY_FAILURE):
        run_properties("optim.sign_sgd")
