"""What this study is called."""

from regrad.studies.papers import SGG
from regrad.studies.study import Study

STUDY = Study(
    name="sgg",
    title="Scaling with gradient grouping",
    notebook="05_sgg",
    paper=SGG,
    section="sgg",
    families=("sgg_cost", "sgg_large"),
)
