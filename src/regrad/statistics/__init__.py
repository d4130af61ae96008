"""Intervals, tests, power, tuning and curves: functions of plain numbers."""

from regrad.statistics.bootstrap import stratified_interval
from regrad.statistics.curves import Width, lr_width, performance_profile, steps_to_target
from regrad.statistics.intervals import Interval, equivalence_p, holm, paired_interval, paired_p
from regrad.statistics.pairs import Pairs, pair_gains, sign_p
from regrad.statistics.power import detectable_effect, needed_n
from regrad.statistics.tuning import Choice, choose

__all__ = [
    "Choice",
    "Interval",
    "Pairs",
    "Width",
    "choose",
    "detectable_effect",
    "equivalence_p",
    "holm",
    "lr_width",
    "needed_n",
    "pair_gains",
    "paired_interval",
    "paired_p",
    "performance_profile",
    "sign_p",
    "steps_to_target",
    "stratified_interval",
]
