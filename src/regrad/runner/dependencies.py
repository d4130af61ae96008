"""What a run depends on beside its spec: the code that its names stand for, libraries, data. Imports no torch."""

from regrad.fingerprint import code_fingerprint, library_versions, module_path
from regrad.problems.data import sources
from regrad.results import Fingerprint, Part, Spec, canonical, sha256
from regrad.runner.lookup import look_up
from regrad.runner.registry import DATA_OPTIONS, GRADIENTS, LIBRARIES, MEASURES, OPTIMIZERS, PROBLEMS, SCALERS


def fingerprint(spec: Spec, device: str) -> Fingerprint:
    """Return what, beside the spec, decides the numbers of its run.

    Its code is the entries that the spec's names resolve to, and the modules that these and the training loop reach:
    another entry of the registry, or a module that this run never imports, is not part of it.
    """
    code = {"entries": entries(spec), "ours": code_fingerprint(*modules(spec)), "others": libraries(spec)}
    data = {name: sources.fingerprint(name) for name in data_sources(spec)}
    torch_version = library_versions(["torch"])["torch"]
    return Fingerprint(
        code=sha256(canonical(code))[:16], data=sha256(canonical(data))[:16], torch=torch_version, device=device
    )


def entries(spec: Spec) -> list[str]:
    chosen = [
        look_up(PROBLEMS, spec.problem, "problem"),
        look_up(OPTIMIZERS, spec.optimizer, "optimizer"),
        look_up(GRADIENTS, spec.gradient or Part(name="backward"), "gradient"),
    ]
    if base := spec.optimizer.base:
        chosen.append(look_up(OPTIMIZERS, base, "base optimizer"))
    if spec.scaler:
        chosen.append(look_up(SCALERS, spec.scaler, "scaler"))
    return chosen + [look_up(MEASURES, part, "measure") for part in spec.measures]


def modules(spec: Spec) -> list[str]:
    ours = {entry.split(":")[0] for entry in entries(spec)}
    return sorted({"regrad.runner.train", *(name for name in ours if module_path(name))})


def libraries(spec: Spec) -> dict[str, str]:
    """Return the versions of the other libraries that a spec's parts come from; torch is recorded apart."""
    named = [entry.split(":")[0] for entry in entries(spec)]
    others = {module.split(".")[0].replace("_", "-") for module in named} - {"regrad", "torch"}
    return library_versions(sorted(others | {name for module in named for name in LIBRARIES.get(module, ())}))


def data_sources(spec: Spec) -> list[str]:
    option = DATA_OPTIONS[spec.problem.name]
    if option not in spec.problem.options:
        raise ValueError(f"problem {spec.problem.name!r}: option {option!r} must be given")
    value = spec.problem.options[option]
    return list(map(str, value)) if isinstance(value, list) else [str(value)]
