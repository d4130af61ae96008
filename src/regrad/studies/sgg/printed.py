"""What the SGG paper and its authors print, where two of these numbers disagree, and the arithmetic of it.

Source of every number: arXiv 2506.01049v1 unless its line names another.
"""

import math
from statistics import fmean

import pandas as pd

SIZES = ("60M", "130M", "350M", "1B")
# Table 4, validation perplexity; the Adam and LoRA rows are marked there as borrowed.
TABLE_4 = {
    "Adam": (34.06, 25.08, 18.80, 15.56),
    "Adam+SGG": (30.31, 22.18, 17.28, 14.30),
    "CAME": (31.37, 23.38, 17.45, 14.68),
    "CAME+SGG": (30.15, 22.91, 17.09, 14.35),
    "LoRA": (34.99, 33.92, 25.58, 19.21),
    "LoRA+SGG": (30.62, 23.62, 17.86, 14.73),
    "RAdam": (30.43, 25.17, 19.13, 15.65),
    "Muon (appendix only)": (28.93, 22.34, 17.09, 14.52),
}
# The first authors' later benchmark (ScalingOpt, tab_c4_pt_full, October 2025), every optimizer tuned.
LATER = {"AdamW": (29.19, 22.64, 16.97, 14.40), "SGG+AdamW": (29.98, 22.13, 16.97, 14.34)}
# Table 9, perplexity at 60M by number of clusters.
CLUSTERS_60M = {1: 34.1, 2: 30.3, 3: 30.8}
CLUSTERS_130M_BEST = 23.3
# Table 5, task values of AdamW with SGG at r = 4 and r = 8, and AdamW's of full fine-tuning with its average.
GLUE_R4 = (62.36, 91.10, 92.12, 80.51, 95.06, 88.18, 92.62, 93.06)
GLUE_R8 = (62.36, 91.10, 92.12, 80.51, 95.06, 88.17, 92.65, 92.85)
GLUE_ADAMW = (62.24, 90.92, 91.30, 79.42, 94.57, 87.18, 92.33, 92.28)
GLUE_ADAMW_AVERAGE = 86.24
TABLE_1_CHANGE, BETA3, REPORTED_EVENTS, BOUNDS = -1.99, 0.99, 20, (0.1, 10.0)
ALPACA, LONGEST_INTERVAL, GRID = 52_000, 500, (128, 512, 1024, 2048, 4096)


def differences(treatment: tuple[float, ...], control: tuple[float, ...]) -> tuple[float, ...]:
    """Return treatment minus control, two decimals."""
    return tuple(round(a - b, 2) for a, b in zip(treatment, control, strict=True))


def equal_entries(first: tuple[float, ...], second: tuple[float, ...]) -> int:
    return sum(a == b for a, b in zip(first, second, strict=True))


def reachable(events: int = REPORTED_EVENTS, beta3: float = BETA3) -> tuple[float, float]:
    """Return the lowest and highest S after so many reclusters, if every raw ratio were at its clamp."""
    kept = beta3**events
    return kept + (1 - kept) * BOUNDS[0], kept + (1 - kept) * BOUNDS[1]


def events_on_grid(interval: int = LONGEST_INTERVAL, epochs: int = 3) -> dict[int, int]:
    """Return batch size to reclusters in the paper's fine-tuning on Alpaca (about 52,000 examples)."""
    return {batch: math.floor(epochs * ALPACA / batch) // interval for batch in GRID}


def printed_table() -> pd.DataFrame:
    later = differences(LATER["SGG+AdamW"], LATER["AdamW"])
    gain = fmean(differences(TABLE_4["Adam+SGG"], TABLE_4["Adam"]))
    low, high = reachable()
    rows = [
        (
            "Baseline",
            f"Adam {TABLE_4['Adam'][0]} at 60M, against {TABLE_4['Adam+SGG'][0]} with SGG",
            "Adam's row is taken from another paper, SGG's is run; RAdam, run alike, has "
            f"{TABLE_4['RAdam'][0]}, Muon (appendix) {TABLE_4['Muon (appendix only)'][0]}",
        ),
        (
            "Later benchmark",
            f"gain {TABLE_4['Adam'][0] - TABLE_4['Adam+SGG'][0]:.2f} at 60M",
            "same first authors, AdamW tuned: SGG minus AdamW is "
            + ", ".join(f"{d:+.2f} ({size})" for d, size in zip(later, SIZES, strict=True)),
        ),
        (
            "Clusters",
            f"default K = 3; 60M: {TABLE_4['Adam+SGG'][0]} (Table 4)",
            f"Table 9 has {CLUSTERS_60M[3]} for K = 3 and {CLUSTERS_60M[2]} for K = 2; at 130M its best is "
            f"{CLUSTERS_130M_BEST}, Table 4 says {TABLE_4['Adam+SGG'][1]}",
        ),
        ("Mean gain", f"{TABLE_1_CHANGE} (Table 1)", f"the rows of Table 4 give {gain:.2f}"),
        (
            "Repeated rows",
            "GLUE with SGG, r = 4 and r = 8 (Table 5)",
            f"{equal_entries(GLUE_R4, GLUE_R8)} of {len(GLUE_R4)} task values are the same",
        ),
        (
            "An average",
            f"{GLUE_ADAMW_AVERAGE} (Table 5, AdamW, full)",
            f"the mean of its row is {fmean(GLUE_ADAMW):.2f}",
        ),
        (
            "How far S gets",
            f"beta3 = {BETA3}, interval 500, {REPORTED_EVENTS} reclusters at 60M",
            f"even clamped ratios at every event leave S in [{low:.2f}, {high:.2f}]",
        ),
        (
            "Robustness grid",
            f"batch {GRID[0]} to {GRID[-1]}, T in [200, 1000] (Figure 5)",
            f"at T = {LONGEST_INTERVAL}, {sum(n == 0 for n in events_on_grid().values())} of {len(GRID)} batch sizes "
            "never recluster: SGG is its base there",
        ),
    ]
    return pd.DataFrame(rows, columns=["what", "printed", "beside it"])
