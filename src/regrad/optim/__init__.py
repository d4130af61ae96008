"""Optimizers: torch.optim.Optimizer subclasses."""
