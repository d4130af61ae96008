"""Images with another network, less data and bad batches; images read pixel by pixel. By hand."""

import numpy as np
import pytest
import torch

from regrad.problems import images
from regrad.problems.batch import Batch
from regrad.problems.data.image_sets import split_images
from regrad.problems.image_networks import NetworkOptions, NetworkProblem
from regrad.problems.long_sequence import LongSequenceOptions, LongSequenceProblem
from regrad.problems.models.plain_cnn import PlainCNN
from regrad.problems.models.resnet import ResNet
from regrad.problems.models.rnn import PixelRNN
from regrad.problems.options import OptionError

SMALL = {"images": "digits", "depth": 8, "width": 4, "norm": "group", "groups": 2}
COUNT = 20


def arrays(side: int = 8):
    """Image k is all k and has label k % 10; normalisation changes nothing."""
    pixels = np.arange(COUNT, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, side, side), dtype=np.uint8)
    labels = (np.arange(COUNT) % 10).astype(np.uint8)
    parts = {f"{split}_images": pixels for split in ("train", "validation", "test")}
    parts |= {f"{split}_labels": labels for split in ("train", "validation", "test")}
    return parts | {"mean": np.array([0.0]), "std": np.array([1.0])}


def varied(seed=0, **options):
    return NetworkProblem(NetworkOptions(**SMALL, **options), arrays(), seed)


def read_by_pixel(seed=0, side=8, **options):
    return LongSequenceProblem(LongSequenceOptions(images="digits", hidden=6, **options), arrays(side), seed)


def numbers(batch):
    """The numbers of the images in a batch, read off their pixels."""
    return [int(image.flatten()[0]) for image in batch.inputs]


def test_the_kind_of_network_is_the_one_asked_for_and_gives_a_logit_a_class():
    for kind, network in (("plain", PlainCNN), ("resnet", ResNet)):
        problem = varied(network_kind=kind)
        model = problem.init_model()
        assert type(model) is network
        assert model(problem.batch(0, 3).inputs).shape == (3, 10)
    assert not any("norm" in type(m).__name__.lower() for m in varied(network_kind="plain").init_model().modules())


def test_a_share_of_the_data_is_its_first_images_and_an_epoch_as_short():
    """A quarter of 20 images: numbers 0 to 4, all of them in every 5."""
    problem = varied(data_percent=25)
    for step in range(3):
        assert sorted(numbers(problem.batch(step, 5))) == [0, 1, 2, 3, 4]
    assert varied(data_percent=1).epoch_size == 1  # never none


def test_less_training_data_leaves_the_validation_images_alone():
    whole, part = varied(), varied(data_percent=10)
    model = whole.init_model()
    assert whole.evaluate(model) == part.evaluate(model)


def test_a_bad_batch_has_every_label_wrong_and_a_hundredfold_loss():
    usual, bad = varied(network_kind="plain"), varied(network_kind="plain", spike_steps=(1,))
    model = usual.init_model()
    for step in (0, 2):  # other steps are untouched
        assert torch.equal(usual.batch(step, 4).targets, bad.batch(step, 4).targets)
        assert torch.equal(usual.losses(model, usual.batch(step, 4)), bad.losses(model, bad.batch(step, 4)))
    one, other = usual.batch(1, 4), bad.batch(1, 4)
    assert torch.equal(one.inputs, other.inputs)
    assert other.targets.tolist() == [(label + 1) % 10 for label in one.targets.tolist()]
    plain = -torch.log_softmax(model(one.inputs), dim=1)[range(4), other.targets]
    assert torch.allclose(bad.losses(model, other), 100 * plain, rtol=1e-5)


def test_what_is_learnt_first_is_other_images_whole_and_without_bad_batches(monkeypatch, tmp_path):
    read = []
    monkeypatch.setattr(images, "load_images", lambda name, cache: read.append((name, cache)) or arrays())
    options = NetworkOptions(**SMALL, pretraining="mnist-5k", data_percent=10, spike_steps=(0,))
    problem = NetworkProblem.from_options(options, cache=tmp_path, seed=5)
    assert read == [("digits", tmp_path), ("mnist-5k", tmp_path)]
    assert problem.datasets == ("digits", "mnist-5k")
    assert (problem.former.options.images, problem.former.seed, problem.former.former) == ("mnist-5k", 5, None)
    assert problem.former.epoch_size == COUNT
    assert type(problem.former.batch(0, 4)) is Batch


def test_options_out_of_range_are_refused_by_name():
    for wrong in ({"data_percent": 0}, {"data_percent": 101}, {"spike_factor": 0.0}, {"network_kind": "vit"}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            varied(**wrong)


@pytest.mark.parametrize("architecture", ["plain", "spiking", "mixer"])
def test_the_memory_format_is_that_of_a_residual_network(architecture):
    assert varied(memory_format="channels_last").init_model().config.memory_format == "channels_last"
    with pytest.raises(OptionError, match="memory_format='channels_last': for architecture 'resnet'"):
        varied(memory_format="channels_last", architecture=architecture)


def test_a_long_sequence_has_a_step_a_pixel():
    """The recurrent layer sees one channel at a time; its output depends on the first pixel of 64."""
    problem = read_by_pixel()
    model = problem.init_model()
    assert type(model) is PixelRNN
    read = (problem.batch(0, 2).inputs / 100).requires_grad_()  # small, so that tanh does not saturate
    logits = model(read)
    assert logits.shape == (2, 10)
    logits.sum().backward()
    assert (read.grad[:, 0, 0, 0] != 0).all()
    assert (read.grad[:, 0, 7, 7] != 0).all()


def test_the_recurrent_matrix_is_orthogonal_times_the_gain():
    for gain in (1.0, 1.5):
        model = read_by_pixel(gain=gain).init_model()
        square = next(p for name, p in model.named_parameters() if tuple(p.shape) == (6, 6) and "hh" in name)
        assert torch.allclose(square @ square.T, gain**2 * torch.eye(6), atol=1e-5)


def test_no_image_is_in_two_splits_and_its_label_goes_with_it():
    pixels = np.random.default_rng(0).integers(0, 255, (300, 1, 4, 4)).astype(np.uint8)
    labels = np.arange(300).astype(np.uint16)
    parts = split_images({"images": pixels, "labels": labels})
    seen = [set(parts[f"{split}_labels"].tolist()) for split in ("train", "validation", "test")]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 300
    for split in ("train", "validation", "test"):
        assert (parts[f"{split}_images"] == pixels[parts[f"{split}_labels"]]).all()
