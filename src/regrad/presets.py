"""The presets: how large studies are. Never part of a run's name, and no run reaches this module."""

PRESETS = ("smoke", "small", "medium", "full", "paper")
