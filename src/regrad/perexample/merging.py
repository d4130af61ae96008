"""Acts on: statistics of per-example gradients. Those of several batches as those of all their examples at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regrad.perexample.requests import Request, parse_statistics


def merge_statistics(
    statistics: Iterable[Any] | Mapping[str, Any], parts: Sequence[Mapping[str, Any]], counts: Sequence[int]
) -> dict[str, Any]:
    """What `gradient_statistics` would have answered for several batches as one: for gradient accumulation.

    Averages are averaged by their numbers of examples, norms are joined, and a variance takes up how far the means
    are apart, so "mean" must be there too.

    Args:
        statistics: what every part was asked for, "gram" excepted.
        parts: an answer of `gradient_statistics` for each batch, all at the same parameters of the model.
        counts: how many examples each batch had; of all processes together, groups where `group_size` > 1.

    Raises:
        ValueError: if parts, counts and statistics do not fit together.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1982).
    """
    request = parse_statistics(statistics)
    _check(request, parts, counts)
    of_mean = next((key for key, statistic in request.answer.items() if statistic == "mean"), "")
    answer: dict[str, Any] = {}
    for key, statistic in request.answer.items():
        values = [part[key] for part in parts]
        if statistic == "variance":
            answer[key] = _by_name(_variance, counts, values, [part[of_mean] for part in parts])
        elif statistic in request.groups:
            answer[key] = {group: torch.cat([value[group] for value in values]) for group in values[0]}
        elif isinstance(values[0], Tensor):
            answer[key] = torch.cat(values)
        else:
            answer[key] = _by_name(_mean, counts, values)
    return answer


def _by_name(merge: Any, counts: Sequence[int], *statistics: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    names = statistics[0][0]
    return {name: merge(counts, *([part[name] for part in parts] for parts in statistics)) for name in names}


def _mean(counts: Sequence[int], means: Sequence[Tensor]) -> Tensor:
    total = torch.zeros_like(means[0])
    for count, mean in zip(counts, means, strict=True):
        total.add_(mean, alpha=count / sum(counts))
    return total


def _variance(counts: Sequence[int], variances: Sequence[Tensor], means: Sequence[Tensor]) -> Tensor:
    whole, n = _mean(counts, means), sum(counts)
    total = torch.zeros_like(whole)
    for count, variance, mean in zip(counts, variances, means, strict=True):
        total.add_(variance, alpha=(count - 1) / (n - 1)).add_((mean - whole).square(), alpha=count / (n - 1))
    return total


def _check(request: Request, parts: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> None:
    if not parts or len(parts) != len(counts):
        raise ValueError(f"merge_statistics: {len(parts)} parts and {len(counts)} counts; one count a part is required")
    for count in counts:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"counts: {count!r}; the number of examples of each part, an integer >= 1, is required")
    if request.needs_gram:
        raise ValueError("gram: pairs of examples of different parts are in no part; ask for it on the whole batch")
    if "variance" in request.answer.values() and "mean" not in request.answer.values():
        raise ValueError("variance: how far the parts' means are apart counts too; ask for 'mean' beside it")
    for part, count in zip(parts, counts, strict=True):
        for key in request.answer:
            if key not in part:
                raise ValueError(f"statistics: {key!r} is not in every part")
            value, first = part[key], parts[0][key]
            if isinstance(value, Tensor) and len(value) != count:
                raise ValueError(f"counts: {count} examples, but {key!r} has {len(value)}")
            if isinstance(value, Mapping) and value.keys() != first.keys():
                raise ValueError(f"{key!r}: the parts are of different parameters")
