"""The result tables of the DGS document, as printed, to stand beside ours.

Source: A. Mann (IJRASET 2024), section "Results", tables A and B; read in a scanned copy of the text.
"""

from typing import NamedTuple


class Cell(NamedTuple):
    """One row of a printed table: accuracy in per cent, "# of Spikes (K)"."""

    accuracy: float
    spikes: int


# (baseline of our counterpart, model, reset) -> rows "Baseline" and "DGS"
TABLES: dict[tuple[str, str, str], tuple[Cell, Cell]] = {
    ("lars", "resnet20", "soft"): (Cell(92.91, 497), Cell(96.05, 492)),
    ("lars", "resnet32", "hard"): (Cell(90.52, 555), Cell(93.57, 563)),
    ("adam", "resnet20", "soft"): (Cell(72.83, 641), Cell(75.2, 634)),
    ("adam", "resnet32", "hard"): (Cell(61.96, 769), Cell(68.03, 759)),
}
