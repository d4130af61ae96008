"""All studies, in the order of the report. A new study is one line here."""

from importlib import import_module

from regrad.studies.study import Study

ROOMS = (
    "overview",
    "sign_placement",
    "micro_adam",
    "own_statistics",
    "engine",
    "sgg",
    "alsdgc",
    "dgs",
)
STUDIES: tuple[Study, ...] = tuple(import_module(f"regrad.studies.{room}.study").STUDY for room in ROOMS)
PAPERS = {study.paper.key: study.paper for study in STUDIES if study.paper}
