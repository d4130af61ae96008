"""Lightning's manual optimization, as far as a module of ours meets it, for where Lightning is not installed.

What a module sees of Lightning 2.6.6: `optimizers()` is a wrapper, which has the optimizer inside and steps it under a
closure of its own; nothing is differentiated, no gradient set to zero. `docs/manual/howto/lightning.md` ran with both.
"""

import torch
from torch import nn


class _Optimizer:
    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        self.optimizer.step(closure=lambda: None)


class LightningModule(nn.Module):
    automatic_optimization = True

    def optimizers(self):
        return self._wrapped


class Trainer:
    def __init__(self, *, max_epochs, accelerator, **_):
        self.max_epochs, self.accelerator, self.optimizers = max_epochs, accelerator, []

    def fit(self, module, loader):
        assert not module.automatic_optimization
        self.optimizers = [module.configure_optimizers()]
        module._wrapped = _Optimizer(self.optimizers[0])
        with torch.enable_grad():
            for _ in range(self.max_epochs):
                for index, batch in enumerate(loader):
                    module.training_step(batch, index)
