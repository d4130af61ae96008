"""The tables that turn the names in a spec into code. Adding a method is one line here.

Entries are ``"module:attribute"`` strings, so that nothing is imported before it is used and a
run's code fingerprint covers its own method only, not all of them: it hashes the entries that a spec
resolves to (`regrad.runner.lookup`) and leaves this file out, so that a new line stales no run.
"""

PROBLEMS = {
    "language": "regrad.problems.language:LanguageProblem",
    "sized_language": "regrad.problems.sized_language:SizedLanguageProblem",
    "minilm": "regrad.problems.minilm:MiniLMProblem",
    "images": "regrad.problems.images:ImageProblem",
    "varied_images": "regrad.problems.image_networks:NetworkProblem",
    "long_sequence": "regrad.problems.long_sequence:LongSequenceProblem",
    "sentiment": "regrad.problems.sentiment:SentimentProblem",
    "translation": "regrad.problems.translation:TranslationProblem",
    "image_networks": "regrad.problems.image_networks:NetworkProblem",
    "preference": "regrad.problems.preference:PreferenceProblem",
    "captions": "regrad.problems.captions:CaptionProblem",
    "imagenet": "regrad.problems.imagenet:ImageNetProblem",
}

OPTIMIZERS = {
    "sign_sgd": "regrad.optim.sign_sgd:SignSGD",
    "micro_adam": "regrad.optim.micro_adam:MicroAdam",
    "sgd": "torch.optim:SGD",
    "adam": "torch.optim:Adam",
    "adamw": "torch.optim:AdamW",
    "adafactor": "torch.optim:Adafactor",
    "came": "pytorch_optimizer:CAME",
    "sgg": "regrad.optim.sgg:SGG",
    "sgg_compared": "regrad.studies.sgg.runtime.compared_groupings:sgg_compared",
    "hidden_schedule": "regrad.studies.sgg.runtime.hidden_schedule:HiddenSchedule",
    "lars": "pytorch_optimizer:LARS",
    "dgs": "regrad.optim.dgs:DGS",
    "resetting": "regrad.studies.dgs.runtime.resetting:Resetting",
    "adagc": "regrad.scaling.third_party:adagc",
    "lamb": "regrad.scaling.third_party:lamb",
}

GRADIENTS = {
    "backward": "regrad.runner.gradients:Backward",
    "example_signs": "regrad.runner.example_gradients:ExampleSigns",
    "statistics": "regrad.runner.example_gradients:Statistics",
    "elementwise": "regrad.runner.example_gradients:Elementwise",
    "dgs_scaled": "regrad.studies.dgs.runtime.scaled:Scaled",
}

# A scaler's factory is called with the device first.
SCALERS = {
    "alsdgc": "regrad.studies.alsdgc.runtime.scalers:alsdgc",
    "clipped": "regrad.studies.alsdgc.runtime.scalers:clipped",
}

# Libraries behind modules of ours that import them when asked to.
LIBRARIES = {
    "regrad.problems.minilm": ("peft", "tokenizers", "transformers"),
    "regrad.studies.alsdgc.runtime.scalers": ("pytorch-optimizer", "zclip"),
    "regrad.studies.sgg.runtime.compared_groupings": ("scikit-learn",),
    "regrad.scaling.third_party": ("pytorch-optimizer", "zclip"),
}

MEASURES = {
    "test": "regrad.runner.measures:TestLoss",
    "whole_test": "regrad.runner.whole_test:WholeTest",
    "scale_range": "regrad.studies.sgg.runtime.measures:ScaleRange",
    "state_mean": "regrad.runner.measures:StateMean",
    "moment_split": "regrad.studies.micro_adam.runtime.moment_split:MomentSplit",
    "split_losses": "regrad.studies.alsdgc.runtime.measures:SplitLosses",
    "split_curves": "regrad.studies.alsdgc.runtime.splits:SplitCurves",
    "scaler_readings": "regrad.studies.alsdgc.runtime.measures:ScalerReadings",
    "gradient_noise": "regrad.studies.sign_placement.runtime.gradient_noise:GradientNoise",
    "spikes": "regrad.studies.dgs.runtime.measures:Spikes",
    "reading_geometry": "regrad.studies.dgs.runtime.measures:ReadingGeometry",
}

# Option of each problem whose value names a data set of problems/data/sources.py.
DATA_OPTIONS = {
    "language": "corpus",
    "sized_language": "corpus",
    "images": "images",
    "image_networks": "images",
    "varied_images": "images",
    "long_sequence": "images",
    "sentiment": "reviews",
    "minilm": "reviews",
    "translation": "verses",
    "preference": "reviews",
    "captions": "images",
    "imagenet": "packages",
}
