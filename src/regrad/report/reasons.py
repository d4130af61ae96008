"""Why a claim has its verdict, as a sentence that a stranger understands; the words are `regrad.report.words`'."""

import re
from collections.abc import Mapping
from typing import Any

from regrad.claims.kinds.outcome import (
    INCONCLUSIVE,
    NO_CASE,
    NOT_REPRODUCED,
    NOT_TESTED,
    REFUTED,
    REPRODUCED,
    alike,
    number,
)
from regrad.presets import PRESETS
from regrad.report import words
from regrad.report.board_rows import bar, deciding
from regrad.report.latex import escape_tex

Plain = Mapping[str, Any]
MINUS, TIE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
SHARES = ("accuracy", "of runs")  # units of which a hundredth is a point
MISSED = re.compile(r"no number: treatment alone at (\d+) seeds, control alone at (\d+), both at (\d+)")
REVERSED = re.compile(r": the step (.+?) to (.+?) (?:reverses|may reverse) the claim by more than the margin")


def figure(value: float) -> str:
    """Return three significant digits with a true minus sign."""
    return number(value).replace("-", MINUS)


def measured(row: Plain) -> tuple[str, str]:
    """Return a row's estimate and its interval, which no line may break; empty without one."""
    between, _ = deciding(row)
    # A ratio as exactly as the end of the range that it is held against.
    decimals = len(f"{row['test']['range'][1]:g}".partition(".")[2]) if row["test"]["kind"] == "ratio" else 0
    sizes = [10.0 ** (2 - decimals)] if decimals > 2 else [row["estimate"], *(row["interval"] or ())]
    texts = alike(row["estimate"], *between, by=sizes)
    estimate, *ends = (text.replace("-", MINUS) for text in texts)
    if all(end is None for end in between):
        return estimate, ""
    low, high = (infinite if text == "none" else text for text, infinite in zip(ends, (MINUS + "∞", "∞"), strict=True))
    return estimate, f"[{low},{TIE}{high}]"


def corrected(row: Plain) -> str:
    """Return the words that follow an interval which is the one after correction; empty for another."""
    return " after correction" if deciding(row)[1] else ""


def amount(row: Plain) -> str:
    """Return a row's estimate, interval and unit, shares in points; empty where there is no number."""
    if row["estimate"] is None:
        return ""
    row = in_points(row)
    return " ".join(filter(None, (*measured(row), row["unit"]))) + corrected(row)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def reason(row: Plain) -> str:
    """Return why a row of ``results/claims.json`` has its verdict: one or two sentences."""
    if row["verdict"] == REFUTED:
        return row["proved"] or "A worked example contradicts the sentence for the algorithm that is printed."
    if row["verdict"] == NOT_TESTED:
        return waiting(row)
    row = in_points(row)
    if row["estimate"] is None:
        named = capital(words.metric(row["metric"]))
        return f"{named}: no seed has two numbers ({missed(row)}); ranks decide{judged(row)}"
    return f"{finding(row)}{ranked(row)}{judged(row)}{besides(row)}"


def ranked(row: Plain) -> str:
    """Return what an interval leaves out where ranks decided: seeds at which an arm has no number; empty otherwise."""
    if not (lacks := missed(row)):
        return ""
    return f" over {row['n']} seeds ({lacks}; ranks over all of them decide)"


def missed(row: Plain) -> str:
    """Return at how many seeds each arm diverged or missed its target; empty where none did."""
    if not (found := MISSED.search(row["why"])):
        return ""
    one, other, both = map(int, found.groups())
    first, last = words.arm(row["arms"][0]), words.arm(row["arms"][-1])
    return f"none: {first} at {one + both} of {row['n'] + one + other + both}, {last} at {other + both}"


def besides(row: Plain) -> str:
    """Return what the other parts of a claim found, of which the worst decides; empty for a claim of one part."""
    own = row["metric"], row["arms"]
    others = [part for part in row.get("tests", ()) if (part["metric"], part["arms"]) != own]
    told = [beside(in_points(part), row) for part in others if part["estimate"] is not None]
    return f" Its other part{'s' if len(told) > 1 else ''}: {'; '.join(told)}." if told else ""


def beside(part: Plain, row: Plain) -> str:
    """Return what one more part found: what it is where it is not the row's own, the number, the verdict."""
    named = words.metric(part["metric"]) if part["metric"] != row["metric"] else ""
    arms = f"{words.arm(part['arms'][0])} against {words.arm(part['arms'][-1])}" if part["arms"] != row["arms"] else ""
    unit = "" if part["unit"] == "times" else part["unit"].replace("of runs", "points")
    found = " ".join(filter(None, (*measured(part), unit)))
    return f"{', '.join(filter(None, (named, arms)))} {found} ({part['verdict']})"


def in_points(row: Plain) -> Plain:
    """Return a row whose shares are points of a hundred: estimate, interval, margin and what could be seen."""
    if row["unit"] not in SHARES or row["test"]["kind"] == "ratio":
        return row
    hundred = [None if value is None else 100 * value for value in row["interval"] or ()]
    seen = row["detectable"] and 100 * row["detectable"]
    changed = {"unit": "points", "interval": hundred or None, "detectable": seen, "estimate": 100 * row["estimate"]}
    changed["interval_holm"] = [None if value is None else 100 * value for value in row.get("interval_holm") or ()]
    return dict(row) | changed | {"test": row["test"] | {"margin": 100 * row["test"]["margin"]}}


def waiting(row: Plain) -> str:
    """Return what a claim that was not tested lacks."""
    if row["preset"] not in row["presets"]:
        least = next(preset for preset in PRESETS if preset in row["presets"])
        return f"It needs preset {least}."
    if row["waits"]:
        return f"Its runs are not all published yet: of its study, {row['waits']}."
    if row["absent"]:
        return "Runs that would decide it are missing."
    for gate in (gate for gate in row["gates"] if not gate["open"]):
        base, unit = words.arm(gate["arm"]), gate["unit"]
        return (
            f"Its base, {base}, reaches {figure(gate['value'])} {unit}; "
            f"it counts as trained from {figure(gate['bar'])} (a trivial predictor has {figure(gate['floor'])})."
        )
    if NO_CASE in row["why"]:  # what it waits for may follow
        return f"No run of {' or '.join(map(words.arm, row['arms']))} {NO_CASE}."
    return "The hardware that would decide it is missing, or a best learning rate lies on its grid's edge."


def finding(row: Plain) -> str:
    """Return what was measured, as a sentence without its full stop."""
    kind, value, unit = row["test"]["kind"], row["estimate"], row["unit"]
    estimate, within = measured(row)
    within += corrected(row)
    size = estimate.removeprefix(MINUS)
    named = words.metric(row["metric"])
    if kind == "prediction":
        return f"Predicted and observed order agree at Kendall's τ = {estimate} {within}"
    first, last = (words.arm(arm) for arm in (row["arms"][0], row["arms"][-1]))
    if kind == "trend":
        way = "falls" if value < 0 else "rises"
        return f"From {first} to {last}, along a line through all rungs, the {named} {way} by {size} {unit} {within}"
    if kind == "ratio":
        if row["test"].get("every"):
            return f"{capital(named)} of {first} over that of {last} lies in {within} in all {row['n']} cases"
        return f"{capital(named)} of {first} over that of {last} is {estimate} {within}"
    if unit == "decades":
        times = f"{figure(10**value)} times that of {last} ({estimate} decades {within})"
        return f"{capital(named)}: {first} has {times}"
    more = "higher" if value > 0 else "lower"
    if value == 0:
        return f"{capital(named)}: no difference between {first} and {last} {within}"
    if kind == "rate":
        return f"{capital(named)}: {more} by {size} points with {first} than with {last} {within}"
    if unit == "steps":
        more = "more" if value > 0 else "fewer"
        return f"{capital(named)}: {first} takes {size} {more} than {last} {within}"
    if row["metric"].partition("/")[0] == "test_loss":
        task = row["metric"].partition("/")[2]
        where = f" ({words.TASKS.get(task, task)})" if task else ""
        side = "above" if value > 0 else "below"
        return f"{capital(first)} ends {size} {unit} {side} {last}{where} {within}"
    return f"{capital(named)}: {first} is {size} {unit} {more} than {last} {within}"


def judged(row: Plain) -> str:
    """Return how the verdict follows from what was measured."""
    found, margin = bar(row), row["test"].get("margin")
    points = 0.0 if found is None else found.at
    if row["test"]["kind"] == "ratio":
        low, high = row["test"]["range"]
        allowed = f"; the claim allows {f'{low:g} to' if low else 'up to'} {high:g}"
        return f"{allowed}{f'; {needed(row)}' if row['verdict'] == INCONCLUSIVE and row['needed_n'] else ''}."
    if row["verdict"] == REPRODUCED:
        return ", as claimed."
    if row["verdict"] == NOT_REPRODUCED:
        return refused(row, points)
    assert row["verdict"] == INCONCLUSIVE
    seen = f"{counted(row)} could show {figure(row['detectable'])} or more" if row["detectable"] else ""
    least = f"the margin is {margin:g}" if margin else ""
    told = ", and ".join(filter(None, (seen, least)))
    if row["test"]["kind"] == "trend" and (step := REVERSED.search(row["why"])):
        first, second = map(words.arm, step.groups())
        told = f"from {first} to {second} it may go the other way by more than the margin of {margin:g}"
    forecast = needed(row) if row["needed_n"] else ""
    return f": not decided{''.join(f'; {words}' for words in (told, forecast) if words)}."


def needed(row: Plain) -> str:
    """Return the forecast for an open claim, to two digits: of seeds that would show what was found, or the margin."""
    two_digits = float(f"{row['needed_n']:.2g}")
    seeds = counted({**row, "n": f"{two_digits:,.0f}"})
    if row["test"]["kind"] not in ("paired", "rate"):
        return f"about {seeds} would decide"
    if missed(row):
        return f"ranks need at least {seeds}"
    found = bar(row)
    at = found.at if found else 0.0  # in margins, turned for the claim
    told = "show one of this size" if at >= 1 else f"{'show' if at >= 0 else 'rule out'} one as large as the margin"
    return f"about {seeds} would {told}"


def counted(row: Plain) -> str:
    """Return how much a row rests on: of what there are n."""
    kind = row["test"]["kind"]
    if kind == "ratio":
        return f"{row['n']} {'cases' if row['test'].get('every') else 'seeds' if row['runs'] else 'rounds'}"
    return f"{row['n']} seeds"


def refused(row: Plain, points: float) -> str:
    """Return what speaks against a claim that was not reproduced; ``points`` is its estimate, turned for the claim."""
    if step := REVERSED.search(row["why"]):
        first, second = map(words.arm, step.groups())
        return f", but from {first} to {second} it goes the other way by more than the margin."
    if "the arm predicted best ends worse" in row["why"]:
        return ", but another arm than the one predicted ends best, by more than the margin."
    if ": a tie" in row["why"]:
        return f": a tie, inside the margin of {row['test']['margin']:g}."
    if "is ruled out" in row["why"]:
        return f": a gain as large as the margin of {row['test']['margin']:g} is ruled out."
    return ", against the claim." if points <= 0 else ", but another part of the claim speaks against it."


def tex(text: str) -> str:
    """Return a text for LaTeX, whose minus signs, ties, apostrophes and unbreakable intervals survive."""
    return escape_tex(text.replace("'", "’")).replace("\N{NO-BREAK SPACE}", "~")
