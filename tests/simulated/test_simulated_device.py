"""Every study's runs on a simulated accelerator: the CPU's numbers, and where the host waits for the device."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
STUDIES = ["sign_placement", "micro_adam", "own_statistics", "sgg", "alsdgc", "dgs"]
TOLERANCE = 1e-4
# Counts of coordinates on this or that side of zero, of which some lie within rounding of it.
COUNTED = ("noise/", "scale/")  # quantities of this kind may differ by half of their size

# How often the host waits at a step, by what a row's name holds; never where none of them is in it.
WAITS = {
    '"alsdgc"': 1,  # the overflow flag, as torch's GradScaler; norm and loss come along
    '"clipper":"autoclip"': 3,  # overflows before clipping and after, and the history of norms
    '"clipper":"ema"': 3,  # likewise
    '"clipper":"zclip"': 3,  # likewise
    '"clipped"': 2,  # overflows, twice
    '"adagc"': 1,  # a third party's
    '"public_c4"': 3,  # the public trainer whose behaviour it repeats reads a scale a group, at every step
    '"names":["variance"]': 1,  # whether a variance is lost in rounding is looked at once for all parameters
    '"adafactor"': 24,  # torch's own reads the size of every parameter
    "minilm": 1,  # transformers looks whether its attention mask hides anything
}
# Of the engine in one call with a variance: whether it is lost in rounding; of a table that is the head too, which of
# its rows were read.
ENGINE_WAITS, TIED_WAITS = 1, 15
TABLE_WAITS = 5  # rows that examples read twice are looked up
RECLUSTERS = ('"sgg"', '"sgg_compared"')  # where k-means looks whether it has ended: at every second step here
# What torch has for a GPU and for no other accelerator; a fused cell is what its LSTM and GRU are made of there.
LACKING = ("aten::_thnn_fused_lstm_cell", "aten::_thnn_fused_gru_cell")
NO_KERNEL = "NotImplementedError: Could not run '{}' with arguments from the 'CPU' backend"


def rows_of(script, *arguments):
    command = [sys.executable, str(HERE / script), *arguments]
    rooms = [HERE, HERE.parent, HERE.parent / "problems", HERE.parent / "perexample", HERE.parents[1] / "src"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, rooms)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@cache
def rows(study, *arguments):
    return rows_of("simulated_runs.py", study, *arguments)


def allowed(arm):
    return next((number for words, number in WAITS.items() if words in arm), 0)


def complaints(found):
    """What is wrong with rows, a line each."""
    for row in found:
        if "refused" in row:
            if any(row["refused"].startswith(NO_KERNEL.format(name)) for name in LACKING):
                continue
            yield f"{row['arm']}: {row['refused']}"
            continue
        far = {k: v for k, v in row["differs"].items() if not v <= (0.5 if k.startswith(COUNTED) else TOLERANCE)}
        if far:
            yield f"{row['arm']}: other numbers than the CPU's: {far}"
        steps = row["waits"][::2] if any(words in row["arm"] for words in RECLUSTERS) else row["waits"]
        if max(steps) != allowed(row["arm"]):
            yield f"{row['arm']}: waits {row['waits']} of {row['of']}, not {allowed(row['arm'])}"
        if not row["resumed"]:
            yield f"{row['arm']}: resumed, it is another run"


def test_a_run_has_the_numbers_of_the_cpu_never_waits_and_goes_on_from_its_checkpoint_and_each_fault_is_seen():
    well, *faulty = rows("dgs", "--most", "1", "--only", "adam", "--faults")
    assert not list(complaints([well]))
    seen = [list(complaints([row])) for row in faulty]
    assert [len(lines) for lines in seen] == [1, 1, 1]
    assert "waits [1, 1, 1, 1, 1] of ['aten::_local_scalar_dense'], not 0" in seen[0][0]
    assert "a tensor of the host, (11,), among those of the device" in seen[1][0]
    assert "Expected a 'sim' device type for generator but found 'cpu'" in seen[2][0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("study", STUDIES)
def test_a_gpu_does_what_the_simulated_device_does(study):
    """The first kinds of each study: every one takes seconds there, and a GPU is lent for minutes."""
    assert not list(complaints(rows(study, "--device", "cuda", "--most", "8")))


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_every_kind_of_run_of_a_study_has_the_numbers_of_the_cpu_and_waits_where_it_must(study):
    found = rows(study)
    assert len(found) > 1
    assert not list(complaints(found))


@pytest.mark.slow
def test_every_problem_of_the_registry_trains_and_is_evaluated():
    assert not list(complaints(rows("problems")))


@pytest.mark.slow
def test_the_engine_has_the_same_statistics_of_every_layer_with_a_rule_and_waits_where_it_must():
    found = rows_of("simulated_engine.py")
    assert found["unused"] == []
    assert not [row for row in found["rows"] if "refused" in row or row["differs"] > 1e-5]
    waits = {row["arm"]: row["waits"] for row in found["rows"]}
    own = {"decoder": TIED_WAITS, "bag": TABLE_WAITS, "rows by index": TABLE_WAITS}
    assert waits == dict.fromkeys(waits, ENGINE_WAITS) | own


@pytest.mark.slow
def test_torch_can_do_all_but_this_there():
    """vmap over GroupNorm may end the process (``terminate called without an active exception``); the graph does it."""
    replaced = {row["instead of"] for study in STUDIES for row in rows(study) if "instead of" in row}
    assert all('"norm":"group"' in arm and '"method":"vmap"' in arm for arm in replaced)
