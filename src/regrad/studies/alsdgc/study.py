"""What this study is called."""

from regrad.studies.papers import ALSDGC
from regrad.studies.study import Study

STUDY = Study(
    name="alsdgc",
    title="Adaptive loss scaling with dynamic gradient clipping",
    notebook="06_alsdgc",
    paper=ALSDGC,
    section="alsdgc",
)
