"""What this study is called."""

from regrad.studies.papers import PER_EXAMPLE
from regrad.studies.study import Study

STUDY = Study(
    name="sign_placement", title="Where the sign goes", notebook="01_sign_placement", paper=PER_EXAMPLE, section="sign"
)
