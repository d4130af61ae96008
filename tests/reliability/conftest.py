"""What each row of the goals table measured, printed at the end as ``goal | target | measured``."""

import signal

import pytest

NAME = "reliability"


def pytest_configure():
    """Let children hear SIGINT: a script's background job ignores it, and hands that on to all that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def figure(record_property):
    """Record one row: ``figure(goal, target, measured)``, called after everything was asserted."""
    return lambda goal, target, measured: record_property(NAME, (goal, target, measured))


def pytest_terminal_summary(terminalreporter):
    """Print the rows of the tests that passed, then the names of those that did not."""
    reports = [r for kind in ("passed", "failed", "skipped") for r in terminalreporter.stats.get(kind, [])]
    rows = [value for report in reports for name, value in getattr(report, "user_properties", []) if name == NAME]
    if rows:
        terminalreporter.section("reliability: goal | target | measured")
    for row in rows:
        terminalreporter.write_line(" | ".join(row))
