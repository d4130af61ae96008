"""Nonlinear statistics of the per-example gradients of a mini-batch."""
