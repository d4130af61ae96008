"""What this study is called."""

from regrad.studies.papers import PER_EXAMPLE
from regrad.studies.study import Study

STUDY = Study(
    name="engine",
    title="What per-example statistics cost",
    notebook="04_engine",
    paper=PER_EXAMPLE,
    trains=False,
    section="engine",
)
