"""Optimizers: torch.optim.Optimizer subclasses."""

from regrad.optim.dgs import DGS
from regrad.optim.micro_adam import MicroAdam
from regrad.optim.sgg import SGG
from regrad.optim.sign_sgd import SignSGD

__all__ = ["DGS", "SGG", "MicroAdam", "SignSGD"]
