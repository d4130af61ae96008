"""One small problem of every kind in the registry, on data made here: no cache, no network."""

import json
from functools import cache

import numpy as np
import torch

from regrad.problems import minilm, sentences, translation
from regrad.problems.batch import Batch
from regrad.runner.build import resolve
from regrad.runner.registry import PROBLEMS

IMAGES = {"images": "digits", "depth": 8, "width": 4, "norm": "group", "groups": 2, "evaluation_examples": 11}
CORPUS = {"corpus": "python-topics", "sequence_length": 8, "evaluation_sequences": 11}
WORDS = {"reviews": "movie-reviews", "vocabulary": 60, "words": 6}
DECODER = {"hidden": 8, "heads": 1, "layers": 1}
# Name of each problem to options, and a second set where another path is worth walking.
OPTIONS = {
    "language": [CORPUS, CORPUS | {"tied_head": True, "dtype": "float64"}],
    "sized_language": [CORPUS | DECODER, CORPUS | DECODER | {"rank": 2}],
    "minilm": [{"reviews": "movie-reviews", "layers": 2, "tokens": 8, "evaluation_examples": 11}],
    "images": [IMAGES, IMAGES | {"augment": True}, IMAGES | {"norm": "batch"}],
    "varied_images": [IMAGES | {"network_kind": "plain"}, IMAGES | {"data_percent": 30, "spike_steps": [1]}],
    "image_networks": [
        IMAGES | {"architecture": "spiking", "norm": "batch", "halved": True, "time_steps": 2},
        IMAGES | {"architecture": "mixer"},
    ],
    "long_sequence": [{"images": "digits", "norm": "group", "hidden": 6, "evaluation_examples": 11}],
    "sentiment": [WORDS | {"network_kind": kind, "evaluation_examples": 11} for kind in ("lstm", "transformer")],
    "translation": [{"vocabulary": 700, "hidden": 8, "words": 6, "evaluation_examples": 11, "translated": 3}],
    "preference": [WORDS | DECODER | {"pretraining_steps": 2, "evaluation_pairs": 11}],
    "captions": [{"images": "digits", "patch": 4, "evaluation_examples": 11, **DECODER}],
    "imagenet": [{"size": 8, "depth": 8, "width": 4, "groups": 2, "evaluation_examples": 11, "classes": 10}],
}
CASES = [(name, k) for name, options in OPTIONS.items() for k in range(len(options))]


@cache
def images(count=60, side=8):
    """Images of noise by split, unlike one another, with labels 0 to 9."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, count, 1, side, side), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    splits = ("train", "validation", "test")
    arrays = {f"{split}_images": part for split, part in zip(splits, pixels, strict=True)}
    return (
        arrays | {f"{split}_labels": labels for split in splits} | {"mean": np.array([127.0]), "std": np.array([74.0])}
    )


@cache
def photographs():
    """Paths that nobody opens, and labels."""
    labels = np.arange(60) % 10
    paths = {
        f"{split}_paths": np.array([f"{split}/{k}" for k in range(60)]) for split in ("train", "validation", "test")
    }
    return paths | {f"{split}_labels": labels for split in ("train", "validation", "test")}


def photograph(path, size):
    """The noise at a path."""
    split, number = path.parts
    return np.random.default_rng([len(split), int(number)]).integers(0, 256, (3, size, size), dtype=np.uint8)


def pairs(count=400):
    """Ratings and sentences, every second one favourable, each with a number of its own."""
    return [(1.0 if k % 2 else -1.0, f"{'good' if k % 2 else 'bad'} film {k} it is") for k in range(count)]


def encode(texts):
    """Ids 1 to 29 of the last letters of each text."""
    return [[1, *(2 + ord(letter) % 28 for letter in text[-12:-5])] for text in texts]


def encoder_folder(folder):
    """A folder like MiniLM's, two blocks of width 8."""
    import transformers
    from safetensors.torch import save_file

    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(**sizes, intermediate_size=16, max_position_embeddings=16)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.BertModel(config, add_pooling_layer=False)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


@cache
def verses():
    """Verses of which each has a word of its own."""
    return translation.prepare([(f"verse {k} of the book", f"verso {k} del libro") for k in range(600)], 700, 6)


@cache
def arrays_of(name):
    """What `load` would return for the problem called so."""
    if name in ("language", "sized_language"):
        ids = np.random.default_rng(0).integers(0, 256, (3, 400), dtype=np.uint8)
        return dict(zip(("train", "validation", "test"), ids, strict=True))
    if name in ("sentiment", "preference"):
        return sentences.prepare(pairs(), 60, 6)
    if name == "minilm":
        return minilm.prepare(pairs(), encode, 8)
    return {"translation": verses, "imagenet": photographs}.get(name, images)()


def build(name, variant=0, *, seed=0, folder=None, **changes):
    """The problem called so; MiniLM's files are those in ``folder``."""
    kind = resolve(PROBLEMS[name])
    more = {"folder": folder} if name == "minilm" else {}
    return kind(kind.Options(**OPTIONS[name][variant] | changes), arrays_of(name), seed, **more)


def one_by_one(batch):
    """Batches of one example each."""
    tensors = [part for part in batch if isinstance(part, torch.Tensor)]
    rest = [part for part in batch if not isinstance(part, torch.Tensor)]
    kind = type(batch) if type(batch) is not tuple else Batch
    return [kind(*(part[i : i + 1] for part in tensors), *rest) for i in range(len(tensors[0]))]
