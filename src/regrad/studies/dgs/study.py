"""What this study is called."""

from regrad.studies.papers import DGS
from regrad.studies.study import Study

STUDY = Study(name="dgs", title="Dynamic gradient scaling", notebook="07_dgs", paper=DGS, section="dgs")
