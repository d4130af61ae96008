"""What this study is called."""

from regrad.studies.study import Study

STUDY = Study(
    name="overview", title="Four papers, the data, and the ledger of claims", notebook="00_overview", trains=False
)
