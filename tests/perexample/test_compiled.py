"""Models, parts of them, losses and steps that torch.compile has compiled are run as they were written."""

import importlib
import importlib.util
import shutil
from pathlib import Path
from threading import Barrier, Thread

import pytest
import torch
from perexample_agreement import assert_same
from perexample_models import Decoder, next_token_losses, square_losses
from torch import nn
from torch._dynamo import eval_frame

from regrad.perexample import check, gradient_statistics, token_statistics

STATISTICS = ["mean", "mean_square", "norm"]


def forbidden(graph, inputs):
    raise AssertionError("a compiler was called")


def in_place(model, backend):
    model.compile(backend=backend)
    return model


def by_parts(model, backend):
    for block in model.blocks:
        block.compile(backend=backend)
    model.head = torch.compile(model.head, backend=backend)
    return model


FORMS = {
    "wrapped": lambda model, backend: torch.compile(model, backend=backend),
    "in place": in_place,
    "by parts": by_parts,
    "parallel, then compiled": lambda model, backend: torch.compile(nn.DataParallel(model), backend=backend),
    "compiled, then parallel": lambda model, backend: nn.DataParallel(torch.compile(model, backend=backend)),
    "twice": lambda model, backend: torch.compile(in_place(model, backend), backend=backend, fullgraph=True),
}


@pytest.fixture
def problem(float64):
    model, batch = Decoder(layers=1, tied=False), torch.randint(0, 11, (5, 9))
    return model, batch, gradient_statistics(model, next_token_losses, batch, STATISTICS, method="loop")


def plain_names(answer):
    """By the names that the module had before a layer of it was compiled."""
    return {
        key: {name.replace("_orig_mod.", ""): value for name, value in values.items()} if key != "norm" else values
        for key, values in answer.items()
    }


@pytest.mark.parametrize("method", ["graph", "vmap", "loop"])
@pytest.mark.parametrize("form", FORMS)
def test_a_compiled_model_is_run_as_it_was_written(problem, form, method):
    model, batch, expected = problem
    compiled = FORMS[form](model, forbidden)
    answer = gradient_statistics(compiled, next_token_losses, batch, STATISTICS, method=method)
    assert_same(expected, plain_names(answer))
    with pytest.raises(Exception, match="a compiler was called"):
        compiled(batch)  # afterwards torch.compile works as before


def test_compiled_losses_are_run_as_they_were_written(problem):
    model, batch, expected = problem
    losses = torch.compile(next_token_losses, backend=forbidden)
    assert_same(expected, gradient_statistics(model, losses, batch, STATISTICS))
    assert check(model, losses, batch)


def test_a_compiled_step_may_ask_for_statistics(problem):
    model, batch, expected = problem

    @torch.compile(backend="eager")
    def step(batch):
        return gradient_statistics(model, next_token_losses, 1 * batch, STATISTICS)

    assert_same(expected, step(batch))


def test_tokens_of_compiled_parts(float64):
    model, x = nn.Sequential(nn.Linear(4, 3)), torch.randn(2, 5, 4)
    expected = token_statistics(model, square_losses, x, STATISTICS)
    model[0].compile(backend=forbidden)
    assert_same(expected, token_statistics(model, square_losses, x, STATISTICS))


def test_data_parallelism_on_several_devices_is_refused_with_the_remedy(problem):
    model, batch, expected = problem
    parallel = nn.DataParallel(model)
    parallel.device_ids = [0, 1]
    for asked in (parallel, torch.compile(parallel)):
        with pytest.raises(ValueError, match=r"on 2 devices copies the parameters; .* or model\.module"):
            gradient_statistics(asked, next_token_losses, batch, STATISTICS)
    assert_same(expected, gradient_statistics(parallel.module, next_token_losses, batch, STATISTICS))


def test_threads_that_overlap_leave_the_stance_of_torch_compile_as_it_was(float64):
    # Both enter, the first leaves, the second leaves: each would put back what it had found.
    model, x, seen = [nn.Linear(3, 3), nn.Linear(3, 3)], torch.randn(4, 3), []
    both, first_left = Barrier(2, timeout=30), Barrier(2, timeout=30)

    def work(index):
        places = [both, first_left][: index + 1]

        def losses(model, x):
            while places:
                places.pop(0).wait()
                seen.append(eval_frame._stance.stance)
            return square_losses(model, x)

        gradient_statistics(model[index], losses, x, ["mean"], method="loop")
        if not index:
            first_left.wait()

    threads = [Thread(target=work, args=(index,)) for index in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (seen, eval_frame._stance.stance) == (["force_eager"] * 3, "default")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="Inductor builds its kernels with a C++ compiler")
def test_graphs_that_inductor_has_built_are_left_aside(problem):
    model, batch, expected = problem
    compiled = torch.compile(model)
    next_token_losses(compiled, batch).sum().backward()
    assert_same(expected, gradient_statistics(compiled, next_token_losses, batch, STATISTICS))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="the optional extra hf is not installed")
@pytest.mark.parametrize("name", ["hf/llama", "hf/bert", "hf/t5", "hf/gpt2"])
def test_compiled_architectures_of_others_are_exact(monkeypatch, name):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    models, coverage = (importlib.import_module(module) for module in ("coverage_models", "coverage"))
    model, losses, batch = models.make(name)
    model = model.double()
    truth = gradient_statistics(model, losses, batch, STATISTICS, method="loop")
    for backend in ("eager", "aot_eager", "inductor"):
        compiled = torch.compile(model, backend=backend)
        assert coverage.distance(gradient_statistics(compiled, losses, batch, STATISTICS), truth) < 1e-9
    model.compile(backend=forbidden)
    assert coverage.distance(gradient_statistics(model, losses, batch, STATISTICS), truth) < 1e-9
