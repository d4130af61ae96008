"""What this study is called."""

from regrad.studies.papers import PER_EXAMPLE
from regrad.studies.study import Study

STUDY = Study(name="own_statistics", title="A statistic of one's own", notebook="03_own_statistics", paper=PER_EXAMPLE)
