"""Intervals, tests, power, tuning and curves: functions of plain numbers."""
