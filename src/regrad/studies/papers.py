"""The four papers: the one place that spells their titles, authors and venues.

`paper/refs.bib` holds the same facts as BibTeX; a test compares the two. A study of another paper describes it in its
own room: `regrad.studies.catalogue.PAPERS` has all that are studied.
"""

from typing import NamedTuple


class Paper(NamedTuple):
    """A document that this project puts to the test."""

    key: str  # what the ledger and the command line call it
    name: str  # its method in a word or two, as figures and tables say it
    title: str
    authors: str  # as a reader would cite them, ``"Li et al."``
    year: int  # of the version that was read; 0 where it bears none
    venue: str
    subject: str  # what it is about, in a few words
    scale: str  # how large the networks are that it speaks of
    reference: str = ""  # its key in ``paper/refs.bib``; empty where the report does not cite it

    @property
    def heading(self) -> str:
        when = str(self.year) if self.year else "no date"
        return f"{self.name}: {self.subject} ({self.authors}, {when})"


PER_EXAMPLE = Paper(
    key="per-example",
    name="Per-example gradients",
    title="Per-example gradients: a new frontier for understanding and improving optimizers",
    authors="Roulet and Agarwala",
    year=2025,
    venue="arXiv:2510.00236",
    reference="roulet2025perexample",
    subject="where in the chain to be nonlinear",
    scale="1.2 B (costs)",
)
SGG = Paper(
    key="sgg",
    name="SGG",
    title="Taming LLMs by scaling learning rates with gradient grouping",
    authors="Li et al.",
    year=2025,
    venue="ACL 2025; arXiv:2506.01049",
    reference="li2025sgg",
    subject="scaling with gradient grouping",
    scale="60 M to 1 B, fine-tuning 7 B",
)
ALSDGC = Paper(
    key="alsdgc",
    name="ALSDGC",
    title="Adaptive loss scaling with dynamic gradient clipping",
    authors="unnamed authors",
    year=0,
    venue="unpublished manuscript",
    reference="alsdgc",
    subject="adaptive loss scaling with dynamic gradient clipping",
    scale="none is printed",
)
DGS = Paper(
    key="dgs",
    name="DGS",
    title="Fine-grained approach to optimizing large language models in deep learning",
    authors="Mann",
    year=2024,
    venue="International Journal for Research in Applied Science and Engineering Technology",
    reference="mann2024dgs",
    subject="dynamic gradient scaling",
    scale="ResNet-20 and 32",
)
