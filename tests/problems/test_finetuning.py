"""Changes of low rank, the resized decoder, and a pre-trained encoder with transformers and peft."""

import pytest
import torch
from tiny_problems import encoder_folder
from torch import nn

from regrad.optim.sgg import SGG
from regrad.problems.minilm import MiniLMOptions, MiniLMProblem, prepare
from regrad.problems.models.low_rank import LowRankLinear, make_low_rank
from regrad.problems.options import OptionError
from regrad.problems.sized_language import SizedLanguageOptions, SizedLanguageProblem

TINY = {"corpus": "python-topics", "hidden": 8, "heads": 1, "layers": 2, "sequence_length": 8}


def dense():
    layer = nn.Linear(3, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])
    return layer


# -- low rank


def test_the_change_of_low_rank_by_hand():
    """W0 x = (7, 2) for x = (1, 2, 3); A x = 1 + 2 + 3 = 6, B = (1, -1), alpha/r = 2: the change is (12, -12)."""
    layer = LowRankLinear(dense(), rank=1, alpha=2.0)
    x = torch.tensor([1.0, 2.0, 3.0])
    assert layer(x).tolist() == [7.0, 2.0], "B starts at zero"
    layer.down.data.fill_(1.0)
    layer.up.data = torch.tensor([[1.0], [-1.0]])
    assert layer(x).tolist() == [19.0, -10.0]


def test_only_the_two_factors_are_trained():
    layer = LowRankLinear(dense(), rank=2, alpha=1.0)
    layer(torch.ones(3)).sum().backward()
    assert layer.weight.grad is None
    assert {name for name, p in layer.named_parameters() if p.grad is not None} == {"down", "up"}


@pytest.mark.parametrize("options", [{"rank": 0}, {"rank": 3}, {"alpha": 0.0}, {"alpha": float("nan")}])
def test_a_rank_or_scale_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=r"rank|alpha"):
        LowRankLinear(dense(), **{"rank": 1, "alpha": 1.0} | options)


def test_only_the_layers_named_are_replaced():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Sequential(nn.Linear(2, 2, bias=False)))
    assert make_low_rank(model, rank=1, alpha=1.0, where=lambda name: name.startswith("1.")) == 1
    assert isinstance(model[0], nn.Linear)
    assert isinstance(model[1][0], LowRankLinear)


# -- the resized decoder


def problem(tmp_path, **more):
    return SizedLanguageProblem.from_options(SizedLanguageOptions(**TINY | more), cache=tmp_path, seed=3)


def test_the_low_rank_model_starts_as_the_dense_one(tmp_path):
    whole, low = problem(tmp_path).init_model(), problem(tmp_path, rank=2).init_model()
    batch = problem(tmp_path).batch(0, 2)
    assert torch.equal(whole(batch.inputs), low(batch.inputs))
    # Blocks: 2 · (4 · 2 · (8 + 8) + 3 · 2 · (8 + 16)) factors + 4 norms of 8; beside them embedding, head, norm.
    trained = sum(p.numel() for p in low.parameters() if p.requires_grad)
    assert trained == 2 * (4 * 2 * 16 + 3 * 2 * 24) + 4 * 8 + 2 * 256 * 8 + 8


def test_a_rank_above_the_width_is_refused_in_one_line():
    with pytest.raises(OptionError, match="rank=9: at most hidden = 8"):
        SizedLanguageOptions(**TINY, rank=9)


# -- the encoder


PAIRS = [(1.5 if k % 2 else -1.0, f"sentence number {k}") for k in range(60)] + [(0.0, "neither")]


def encode(texts):
    return [[1, *(2 + ord(c) % 20 for c in text[-6:])] for text in texts]


@pytest.fixture
def encoder(tmp_path):
    pytest.importorskip("transformers")
    return encoder_folder(tmp_path)


def finetuning(folder, **options):
    arrays = prepare(PAIRS, encode, 8)
    return MiniLMProblem(MiniLMOptions(layers=2, tokens=8, **options), arrays, seed=1, folder=folder)


def test_sentences_without_a_polarity_are_left_out_and_short_ones_padded():
    arrays = prepare(PAIRS, lambda texts: [[5, 6]] * len(texts), 4)
    assert sum(len(arrays[f"{split}_labels"]) for split in ("train", "validation", "test")) == 60
    assert arrays["train_ids"][0].tolist() == [5, 6, 0, 0]


def test_padding_changes_no_logit(encoder):
    model = finetuning(encoder).init_model().eval()
    with torch.no_grad():
        short, long = model(torch.tensor([[3, 4, 5]])), model(torch.tensor([[3, 4, 5, 0, 0]]))
    torch.testing.assert_close(short, long, atol=1e-6, rtol=0)


def test_making_a_model_leaves_the_global_random_state_alone_and_repeats(encoder):
    pytest.importorskip("peft")
    before = torch.get_rng_state()
    first, second = (finetuning(encoder, rank=2).init_model() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(("rank", "trained"), [(2, 2 * 2 * 2 * 16 + 18), (4, 2 * 2 * 4 * 16 + 18)])
def test_peft_trains_the_factors_of_queries_and_values_and_the_head(encoder, rank, trained):
    """2 blocks of 2 matrices with 16 r entries each, and the head's 18."""
    pytest.importorskip("peft")
    model = finetuning(encoder, rank=rank).init_model()
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained


@pytest.mark.parametrize("rank", [None, 2])
def test_sgg_fine_tunes_it(encoder, rank):
    task = finetuning(encoder, rank=rank)
    model = task.init_model()
    wanted = [p for p in model.parameters() if p.requires_grad]
    optimizer = SGG(torch.optim.AdamW(wanted, lr=1e-2), interval=2)
    before = task.evaluate(model, "train")["loss"]
    for step in range(10):
        optimizer.zero_grad()
        task.losses(model, task.batch(step, 8)).mean().backward()
        optimizer.step()
    assert task.evaluate(model, "train")["loss"] < before
    assert optimizer.mean_scale() != 1.0


def test_the_trainer_of_transformers_runs_with_sgg_in_optimizers(encoder, tmp_path):
    """Nothing else is changed; the clusters move and the scheduler reaches the base optimizer."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    model = transformers.BertForSequenceClassification(transformers.BertConfig.from_json_file(encoder / "config.json"))
    rows = [{"input_ids": torch.arange(1, 7) + k % 3, "labels": k % 2} for k in range(16)]
    optimizer = SGG(torch.optim.AdamW(model.parameters(), lr=1e-2), interval=2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=4, per_device_train_batch_size=4, report_to=[], use_cpu=True,
        disable_tqdm=True, save_strategy="no", logging_strategy="no",
    )  # fmt: skip
    transformers.Trainer(model, arguments, train_dataset=rows, optimizers=(optimizer, schedule)).train()
    assert optimizer.progress["steps"] == 4
    assert optimizer.mean_scale() != 1.0
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(1e-2 * 0.5**4)
