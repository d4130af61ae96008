"""Gradient mathematics: functions of tensors, no classes with behaviour."""
