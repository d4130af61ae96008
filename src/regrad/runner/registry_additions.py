"""Names added after records were published: every run depends on `registry.py`, so a line there would stale them all.

The package imports this module before any of its own, in the process that plans and in every worker. A run's
fingerprint covers the modules that it names, as for names of the registry itself.
"""

from regrad.runner.registry import DATA_OPTIONS, LIBRARIES, OPTIMIZERS, PROBLEMS

PROBLEMS |= {
    "preference": "regrad.problems.preference:PreferenceOptions",
    "captions": "regrad.problems.captions:CaptionOptions",
    "imagenet": "regrad.problems.imagenet:ImageNetOptions",
}
DATA_OPTIONS |= {"preference": "reviews", "captions": "images", "imagenet": "packages"}
OPTIMIZERS |= {"sgg_compared": "regrad.runner.sgg_clusterings:sgg_compared"}
LIBRARIES |= {"regrad.runner.sgg_clusterings": ("scikit-learn",)}
