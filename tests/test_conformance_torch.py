"""The conformance table through torch's own OptimizerInfo machinery, on every device that is there.

torch ships the machinery (``OptimizerInfo``, ``@optims``, error inputs for all optimizers) but not its test
bodies, so the bodies are ours: those of torch's list, which test_conformance.py runs with pytest alone, too.
What this adds: torch's error inputs, and a CUDA device where there is one.
"""

import unittest

import pytest

pytest.importorskip("expecttest", reason="torch's test machinery needs the package expecttest")

from torch.testing._internal.common_device_type import instantiate_device_type_tests
from torch.testing._internal.common_optimizers import (
    DecorateInfo,
    OptimizerInfo,
    get_error_inputs_for_all_optims,
    optims,
)
from torch.testing._internal.common_utils import TestCase

from conformance import TABLE
from conformance_properties import TORCH_LIST


def info(entry):
    """``entry`` as torch describes optimizers, under the table's name."""
    return OptimizerInfo(
        type(entry.name, (), {"entry": entry}),
        optim_inputs_func=lambda device: [],
        optim_error_inputs_func=get_error_inputs_for_all_optims,
        skips=[
            DecorateInfo(unittest.skip(reason), "TestConformance", f"test_{name}")
            for name, reason in entry.skips.items()
        ],
    )


INFOS = [info(entry) for entry in TABLE]


class TestConformance(TestCase):
    """One method per property of torch's list is added below."""

    @optims(INFOS)
    def test_torch_error_inputs_are_refused(self, device, dtype, optim_info):
        entry = optim_info.optim_cls.entry
        for error in optim_info.optim_error_inputs_func(device, dtype):
            given = error.optimizer_error_input
            if given.params is None or (entry.named and error.error_type is UserWarning):
                continue  # an lr of two elements, and unnamed duplicates: the properties' business
            refusal = pytest.warns if error.error_type is UserWarning else pytest.raises
            with refusal(error.error_type):
                entry.make(given.params, **{"lr": entry.lr, **entry.options, **given.kwargs})


def through_torch(prop):
    def body(self, device, dtype, optim_info):
        prop(optim_info.optim_cls.entry, device)

    body.__name__ = f"test_{prop.__name__}"
    return optims(INFOS)(body)


for prop in TORCH_LIST.values():
    setattr(TestConformance, f"test_{prop.__name__}", through_torch(prop))
instantiate_device_type_tests(TestConformance, globals(), only_for=("cpu", "cuda"))
