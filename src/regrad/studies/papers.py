"""The four papers: the one place that spells their titles, authors and venues.

`python -m regrad.cite` writes their entries in ``paper/refs.bib`` and their references in ``CITATION.cff`` from it. A
study of another paper describes it in its own room: `regrad.studies.catalogue.PAPERS` has all that are studied.
"""

from typing import NamedTuple


class Paper(NamedTuple):
    """A document that this project puts to the test."""

    key: str  # what the ledger and the command line call it
    name: str  # its method in a word or two, as figures and tables say it
    title: str
    people: tuple[tuple[str, str], ...]  # given and family name of each author; empty where it names none
    year: int  # of the version that was read; 0 where it bears none
    venue: str
    subject: str  # what it is about, in a few words
    scale: str = "not stated"  # how large the networks are that it speaks of
    kind: str = "misc"  # of its BibTeX entry
    url: str = ""
    doi: str = ""
    note: str = ""  # what else a reader of a bibliography should know
    reference: str = ""  # its key in ``paper/refs.bib``; empty where the report does not cite it

    @property
    def heading(self) -> str:
        when = str(self.year) if self.year else "no date"
        return f"{self.name}: {self.subject} ({self.authors}, {when})"

    @property
    def cited(self) -> str:
        """Authors and year, as in a sentence."""
        return f"{self.authors} {self.year}" if self.year else f"{self.authors}, no date"

    @property
    def authors(self) -> str:
        """Its authors as a reader would cite them, ``"Li et al."``."""
        family = [name for _, name in self.people]
        if not family:
            return "unnamed authors"
        return f"{family[0]} et al." if len(family) > 2 else " and ".join(family)


PER_EXAMPLE = Paper(
    key="per-example",
    name="Per-example gradients",
    title="Per-example gradients: a new frontier for understanding and improving optimizers",
    people=(("Vincent", "Roulet"), ("Atish", "Agarwala")),
    year=2025,
    venue="arXiv:2510.00236",
    url="https://arxiv.org/abs/2510.00236",
    note="Read: abstract and public summaries; the body was not available",
    reference="roulet2025perexample",
    subject="where in the chain to be nonlinear",
    scale="1.2 B (costs)",
)
SGG = Paper(
    key="sgg",
    name="SGG",
    title="Taming LLMs with gradient grouping",
    people=(
        ("Siyuan", "Li"),
        ("Juanxi", "Tian"),
        ("Zedong", "Wang"),
        ("Xin", "Jin"),
        ("Zicheng", "Liu"),
        ("Wentao", "Zhang"),
        ("Dan", "Xu"),
    ),
    year=2025,
    venue="Annual Meeting of the Association for Computational Linguistics",
    kind="inproceedings",
    url="https://aclanthology.org/2025.acl-long.164",
    doi="10.18653/v1/2025.acl-long.164",
    note="arXiv:2506.01049 as: Taming LLMs by scaling learning rates with gradient grouping",
    reference="li2025sgg",
    subject="scaling with gradient grouping",
    scale="60 M to 1 B, fine-tuning 7 B",
)
ALSDGC = Paper(
    key="alsdgc",
    name="ALSDGC",
    title="Adaptive loss scaling with dynamic gradient clipping for enhanced training of deep neural networks",
    people=(),
    year=0,
    venue="unpublished manuscript",
    kind="unpublished",
    note="Our copy names neither author nor date",
    reference="alsdgc",
    subject="adaptive loss scaling with dynamic gradient clipping",
    scale="none is printed",
)
DGS = Paper(
    key="dgs",
    name="DGS",
    title="Fine-grained approach to optimizing large language models in deep learning",
    people=(("Logan", "Mann"),),
    year=2024,
    venue="International Journal for Research in Applied Science and Engineering Technology",
    kind="article",
    url="https://doi.org/10.22214/ijraset.2024.62669",
    doi="10.22214/ijraset.2024.62669",
    note="Read in a scanned copy of the text",
    reference="mann2024dgs",
    subject="dynamic gradient scaling",
    scale="ResNet-20 and 32",
)
