"""The presets: how large studies are. Never part of a run's name, and no run reaches this module."""

PRESETS = ("smoke", "small", "medium", "full", "paper")
RATES_OF = {"small": "medium"}  # presets whose learning rates are tuned by another, and published with it
