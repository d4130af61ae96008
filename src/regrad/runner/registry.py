"""The tables that turn the names in a spec into code. Adding a method is one line here.

Entries are ``"module:attribute"`` strings, so that nothing is imported before it is used and a
run's code fingerprint covers its own method only, not all of them.
"""

from regrad.fingerprint import library_versions, module_path
from regrad.results import Part, Spec, suggestion

# A problem's module has, beside its options, ``build(options, cache=…, seed=…, device=…)``.
PROBLEMS = {
    "language": "regrad.problems.language:LanguageOptions",
    "sized_language": "regrad.problems.finetuning_language:SizedLanguageOptions",
    "minilm": "regrad.problems.finetuning_sentiment:FinetuningOptions",
    "images": "regrad.problems.images:ImageOptions",
    "varied_images": "regrad.problems.varied_images:VariedImageOptions",
    "long_sequence": "regrad.problems.long_sequence:LongSequenceOptions",
    "sentiment": "regrad.problems.sentiment:SentimentOptions",
    "translation": "regrad.problems.translation:TranslationOptions",
    "image_networks": "regrad.problems.images_networks:NetworkOptions",
}

OPTIMIZERS = {
    "sign_sgd": "regrad.optim.sign_sgd:SignSGD",
    "micro_adam": "regrad.optim.micro_adam:MicroAdam",
    "sgd": "torch.optim:SGD",
    "adam": "torch.optim:Adam",
    "adamw": "torch.optim:AdamW",
    "adafactor": "torch.optim:Adafactor",
    "came": "pytorch_optimizer:CAME",
    "sgg": "regrad.runner.sgg_optimizers:sgg",
    "hidden_schedule": "regrad.runner.sgg_optimizers:HiddenSchedule",
    "lars": "pytorch_optimizer:LARS",
    "dgs": "regrad.optim.dgs:DGS",
    "resetting": "regrad.runner.dgs_reset:Resetting",
    "adagc": "regrad.scaling.third_party:adagc",
    "lamb": "regrad.scaling.third_party:lamb",
}

GRADIENTS = {
    "backward": "regrad.runner.gradients:Backward",
    "example_signs": "regrad.runner.gradients:ExampleSigns",
    "statistics": "regrad.runner.gradients:Statistics",
    "elementwise": "regrad.runner.gradients:Elementwise",
    "dgs_scaled": "regrad.runner.dgs_scaled:Scaled",
}

# A scaler's factory is called with the device first.
SCALERS = {
    "alsdgc": "regrad.runner.scaled:alsdgc",
    "clipped": "regrad.runner.scaled:clipped",
}

# Libraries behind modules of ours that import them when asked to.
LIBRARIES = {
    "regrad.problems.finetuning_sentiment": ("peft", "tokenizers", "transformers"),
    "regrad.runner.scaled": ("pytorch-optimizer", "zclip"),
    "regrad.scaling.third_party": ("pytorch-optimizer", "zclip"),
}

MEASURES = {
    "test": "regrad.runner.measures:TestLoss",
    "scale_range": "regrad.runner.sgg_measures:ScaleRange",
    "state_mean": "regrad.runner.measures:StateMean",
    "moment_split": "regrad.runner.measures:MomentSplit",
    "split_losses": "regrad.runner.scaled_measures:SplitLosses",
    "scaler_readings": "regrad.runner.scaled_measures:ScalerReadings",
    "gradient_noise": "regrad.runner.gradient_noise:GradientNoise",
    "spikes": "regrad.runner.dgs_measures:Spikes",
    "reading_geometry": "regrad.runner.dgs_measures:ReadingGeometry",
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
}


def look_up(table: dict[str, str], part: Part, kind: str) -> str:
    """Return the entry of ``part`` in ``table``.

    Raises:
        ValueError: If there is none; the message suggests the nearest name.
    """
    if part.name not in table:
        raise ValueError(f"unknown {kind} {part.name!r}{suggestion(part.name, list(table))}")
    return table[part.name]


def entries(spec: Spec) -> list[str]:
    """Return the ``module:attribute`` of everything a spec names."""
    chosen = [
        look_up(PROBLEMS, spec.problem, "problem"),
        look_up(OPTIMIZERS, spec.optimizer, "optimizer"),
        look_up(GRADIENTS, spec.gradient or Part(name="backward"), "gradient"),
    ]
    if base := spec.optimizer.options.get("base"):
        chosen.append(look_up(OPTIMIZERS, Part(**base), "base optimizer"))  # type: ignore[arg-type]
    if spec.scaler:
        chosen.append(look_up(SCALERS, spec.scaler, "scaler"))
    return chosen + [look_up(MEASURES, part, "measure") for part in spec.measures]


def modules(spec: Spec) -> list[str]:
    """Return our own modules that a spec's run starts from."""
    ours = {entry.split(":")[0] for entry in entries(spec)}
    return sorted({"regrad.runner.train", *(name for name in ours if module_path(name))})


def libraries(spec: Spec) -> dict[str, str]:
    """Return the versions of the other libraries that a spec's parts come from; torch is recorded apart."""
    named = [entry.split(":")[0] for entry in entries(spec)]
    others = {module.split(".")[0].replace("_", "-") for module in named} - {"regrad", "torch"}
    return library_versions(sorted(others | {name for module in named for name in LIBRARIES.get(module, ())}))


def data_sources(spec: Spec) -> list[str]:
    """Return the names of the data sets that a spec's problem reads."""
    option = DATA_OPTIONS[spec.problem.name]
    if option not in spec.problem.options:
        raise ValueError(f"problem {spec.problem.name!r}: option {option!r} must be given")
    value = spec.problem.options[option]
    return list(map(str, value)) if isinstance(value, list) else [str(value)]
