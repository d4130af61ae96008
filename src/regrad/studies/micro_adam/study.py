"""What this study is called."""

from regrad.studies.papers import PER_EXAMPLE
from regrad.studies.study import Study

STUDY = Study(
    name="micro_adam", title="Adam's preconditioner", notebook="02_micro_adam", paper=PER_EXAMPLE, section="micro_adam"
)
