"""Why a claim has its verdict, in sentences: equal decimals, the deciding interval, every part of a claim."""

from regrad.report import words
from regrad.report.board_rows import bar, deciding
from regrad.report.findings import advice, held, left_open
from regrad.report.reasons import amount, counted, reason

PAIRED = {"kind": "paired", "direction": "lower", "margin": 0.01}
TIE = "\N{NO-BREAK SPACE}"


def row(**fields):
    plain = {
        "id": "X1", "paper": "sgg", "short": "SGG helps", "verdict": "reproduced", "estimate": -0.02, "n": 5, "p": 0.01,
        "interval": [-0.03, -0.01], "interval_holm": None, "detectable": 0.005, "test": PAIRED, "unit": "nats",
        "metric": "test_loss", "arms": ["adamw_sgg", "adamw"], "by_p": True, "why": "", "margin": 0.01, "proved": "",
        "needed_n": None, "look": 5, "runs": {"adamw": {"0": ["run"]}},
    }  # fmt: skip
    return plain | fields


def test_estimate_and_interval_have_equal_decimals():
    said = reason(row(estimate=-0.00273, interval=[-0.00547, 5.69e-06]))
    assert f"ends 0.00273 nats below AdamW [−0.00547,{TIE}0.00001], as claimed." in said
    assert f"[−∞,{TIE}−0.0100]" in reason(row(interval=[None, -0.01]))


def test_a_claim_that_falls_to_holm_shows_the_interval_by_which_it_falls():
    falls = row(verdict="inconclusive", interval_holm=[-0.05, 0.01])
    assert deciding(falls) == ([-0.05, 0.01], True)
    assert f"[−0.0500,{TIE}0.0100] after correction: not decided" in reason(falls)
    assert (bar(falls).low, bar(falls).high) == (-1, 5)
    assert f"−0.0200 [−0.0500,{TIE}0.0100] nats after correction" in left_open([falls], [falls])
    assert "would need" not in left_open([falls], [falls])
    share = falls | {"unit": "accuracy", "test": {"kind": "paired", "direction": "lower", "margin": 0.01}}
    assert amount(share) == f"−2.00 [−5.00,{TIE}1.00] points after correction"
    alone = row(verdict="inconclusive", interval=[-0.03, 0.01], interval_holm=[-0.05, 0.03])
    assert deciding(alone) == ([-0.03, 0.01], False)
    cost = row(
        verdict="inconclusive", test={"kind": "ratio", "range": [0, 1.1]}, interval=[1.0, 1.2], interval_holm=[-1, 2]
    )
    assert deciding(cost) == ([1.0, 1.2], False)


def test_a_claim_that_is_open_for_its_own_comparisons_shows_the_interval_that_leaves_it_open():
    near = {"verdict": "inconclusive", "estimate": -0.001, "interval": [-0.008, 0.006]}
    assert deciding(row(**near, interval_holm=[-0.014, 0.012])) == ([-0.014, 0.012], True)
    assert deciding(row(**near, interval_holm=[-0.009, 0.007])) == ([-0.008, 0.006], False)
    assert deciding(row(**near | {"interval": [None, 0.006]}, interval_holm=[None, 0.012]))[1] is False


def test_an_open_claim_says_how_many_seeds_would_decide_it():
    falls = row(verdict="inconclusive", needed_n=17)
    assert reason(falls).endswith("the margin is 0.01; about 17 seeds would show one of this size.")
    worse = row(verdict="inconclusive", needed_n=17, estimate=0.02)
    assert reason(worse).endswith("about 17 seeds would rule out one as large as the margin.")
    small = row(verdict="inconclusive", needed_n=17, estimate=-0.004)
    assert reason(small).endswith("about 17 seeds would show one as large as the margin.")
    on_the_end = row(verdict="inconclusive", needed_n=4306, test={"kind": "ratio", "range": [0, 1.1]})
    assert reason(on_the_end).endswith("the claim allows up to 1.1; about 4,300 seeds would decide.")
    near = {"test": {"kind": "ratio", "range": [0, 1.004]}, "estimate": 1.0046, "interval": [0.9939, 1.0155]}
    assert f"is 1.005 [0.994,{TIE}1.016]; the claim allows up to 1.004" in reason(on_the_end | near | {"unit": "times"})
    assert left_open([], [falls, on_the_end]).endswith("; 1 would need more than 30 seeds.")


def test_an_open_ladder_names_the_step_that_may_reverse_it():
    step = "micro_adam_var to micro_adam"
    why = f"change from micro_adam_var to adam: …: the step {step} may reverse the claim by more than the margin"
    trend = {"kind": "trend", "direction": "lower", "margin": 0.01}
    said = reason(row(verdict="inconclusive", test=trend, why=why, needed_n=150, arms=["micro_adam_var", "adam"]))
    first, second = words.arm("micro_adam_var"), words.arm("micro_adam")
    way = f"from {first} to {second} it may go the other way by more than the margin of 0.01"
    assert said.endswith(f": not decided; {way}; about 150 seeds would decide.")


def test_every_part_of_a_claim_is_told():
    rate = PAIRED | {"kind": "rate"}
    other = row(metric="steps_to_target", unit="decades", estimate=-0.08, interval=[-0.11, -0.05])
    own = row(
        metric="diverged_on_grid", unit="of runs", estimate=0.0, interval=[-0.06, 0.06], test=rate, n=60, by_p=False
    )
    said = reason(own | {"verdict": "not reproduced", "tests": [other, own]})
    assert "no difference between" in said
    assert said.endswith(
        f"Its other part: number of steps to the target −0.080 [−0.110,{TIE}−0.050] decades (reproduced)."
    )
    assert said.count("Its other part:") == 1
    assert "other part" not in reason(own | {"tests": [own]})


def test_what_a_row_rests_on_is_named():
    assert counted(row()) == "5 seeds"
    assert counted(row(test={"kind": "ratio"})) == "5 seeds"
    assert counted(row(test={"kind": "ratio"}, runs={})) == "5 rounds"
    assert counted(row(test={"kind": "ratio", "every": True})) == "5 cases"


def test_the_first_page_gives_sizes_names_costs_last_and_recommends_nothing_by_itself():
    cost = row(
        short="SGG is cheap", estimate=1.0, interval=[1.0, 1.0], unit="times", test={"kind": "ratio", "range": [0, 2]}
    )
    said = held([cost, row()])
    assert said.index("SGG helps") < said.index("SGG is cheap")
    assert f"“SGG helps”, −0.0200 [−0.0300,{TIE}−0.0100] nats" in said
    assert advice([row()], []).startswith("What to use: a tuned Adam or SGD. Before you try")
    assert "nothing here is a reason" in advice([cost], [])
