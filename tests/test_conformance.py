"""Every optimizer of ours, and three of torch's, has every property, or a reason why not."""

import pytest

from conformance import TABLE
from conformance_properties import BEYOND, TORCH_LIST

PROPERTIES = {**TORCH_LIST, **BEYOND}
SKIPS = [(entry, name) for entry in TABLE for name in entry.skips]


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
@pytest.mark.parametrize("name", PROPERTIES)
def test_property(entry, name):
    if name in entry.skips:
        pytest.skip(entry.skips[name])
    PROPERTIES[name](entry, "cpu")


@pytest.mark.parametrize(("entry", "name"), SKIPS, ids=lambda value: getattr(value, "name", value))
def test_every_skip_has_a_reason_and_is_needed(entry, name):
    assert len(entry.skips[name].split()) >= 3
    with pytest.raises((Exception, pytest.fail.Exception)):  # whatever keeps it from holding
        PROPERTIES[name](entry, "cpu")


def test_the_table_names_each_optimizer_once_and_holds_the_controls():
    names = [entry.name for entry in TABLE]
    assert len(names) == len(set(names))
    assert {"torch-SGD", "torch-Adam", "torch-AdamW"} <= set(names)
    assert len(TORCH_LIST) >= 15
    assert len(BEYOND) >= 17
