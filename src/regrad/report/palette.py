"""Colours of every figure: Okabe and Ito's, told apart by readers with any colour vision; markers repeat them."""

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PINK, SKY, BLACK, GREY, YELLOW = "#CC79A7", "#56B4E9", "#000000", "#767676", "#B8A800"

# From small to large batches: one hue, darker the larger, readable without colour.
RAMP = ("#9ECAE1", "#6BAED6", "#4292C6", "#2171B5", "#08519C", "#08306B", "#000000")


def ramp(place: int, count: int) -> str:
    """Return the colour of number ``place`` of ``count`` ordered values, light to dark."""
    return RAMP[round(place * (len(RAMP) - 1) / max(1, count - 1))]
