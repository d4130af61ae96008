"""SGG that groups by Gaussian mixtures or by density (DBSCAN), scikit-learn's: for comparison with k-means only.

Acts on: the update, as `regrad.optim.sgg` does.

Source: SGG (arXiv 2506.01049), figure 3, which names the two algorithms and no settings.
Departures: both are fitted to at most `SAMPLE` order statistics of a tensor, evenly spaced in rank, and what
they find is read as intervals, as k-means' clusters are. All settings are ours.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from regrad.optim.sgg import SGG
from regrad.transforms.checks import one_of
from regrad.transforms.cluster_statistics import entry_statistics
from regrad.transforms.grouping import GroupFunction, Grouping

SAMPLE = 512
NEIGHBOURS = 5
_CROSSINGS = 257  # points between two means at which a mixture's densities are compared


def group_by_mixture(tensors: list[Tensor], clusters: int, *, statistic: str, signed: bool) -> Grouping:
    """Group by the components of a Gaussian mixture; arguments as `regrad.transforms.grouping.group_exactly`.

    The boundary between neighbouring components is where their weighted densities cross between their means.
    """
    del signed  # order statistics do not mind
    return _grouped(tensors, statistic, lambda sample: mixture_boundaries(sample, clusters))


def group_by_density(tensors: list[Tensor], clusters: int, *, statistic: str, signed: bool) -> Grouping:
    """Group by DBSCAN; arguments as above.

    DBSCAN chooses the number of groups itself. Every run of neighbours with one label is an interval, noise
    too; of more than K intervals those between the K - 1 widest gaps are kept, of fewer the rest is empty.
    """
    del signed
    return _grouped(tensors, statistic, lambda sample: density_boundaries(sample, clusters))


def _grouped(tensors: list[Tensor], statistic: str, fit: Callable[[np.ndarray], np.ndarray]) -> Grouping:
    found = [fit(sorted_sample(values)) for values in tensors]
    boundaries = [torch.from_numpy(cuts).to(x.device, x.dtype) for x, cuts in zip(tensors, found, strict=True)]
    return Grouping(boundaries, entry_statistics(tensors, boundaries, statistic))


def sorted_sample(values: Tensor) -> np.ndarray:
    """Return at most `SAMPLE` order statistics, float64, ascending, evenly spaced in rank, extremes included."""
    ordered = values.detach().double().flatten().sort().values.cpu().numpy()
    return ordered[np.linspace(0, len(ordered) - 1, min(SAMPLE, len(ordered))).round().astype(int)]


def mixture_boundaries(sample: np.ndarray, clusters: int) -> np.ndarray:
    """Return [clusters - 1] ascending boundaries of a mixture fitted to a sorted sample, random_state 42."""
    from sklearn.mixture import GaussianMixture  # slow to import

    unit = max(float(sample.std()), np.finfo(np.float64).tiny)  # its floor of 1e-6 on variances is absolute
    model = GaussianMixture(min(clusters, len(np.unique(sample))), random_state=42)
    model.fit(sample[:, None] / unit)
    order = np.argsort(model.means_[:, 0])
    mean, deviation = model.means_[order, 0], np.sqrt(model.covariances_[order, 0, 0])
    weight = model.weights_[order]
    cuts = np.full(clusters - 1, np.inf)
    for k in range(len(mean) - 1):
        points = np.linspace(mean[k], mean[k + 1], _CROSSINGS)
        logs = [np.log(weight[j] / deviation[j]) - ((points - mean[j]) / deviation[j]) ** 2 / 2 for j in (k, k + 1)]
        ahead = logs[1] > logs[0]
        cuts[k] = unit * (points[ahead.argmax()] if ahead.any() else points[-1])
    return cuts


def density_boundaries(sample: np.ndarray, clusters: int) -> np.ndarray:
    """Return [clusters - 1] ascending boundaries of what DBSCAN finds in a sorted sample, inf where it finds fewer.

    Two values are neighbours within a tenth of the sample's standard deviation.
    """
    from sklearn.cluster import DBSCAN  # slow to import

    reach = max(float(sample.std()) / 10, np.finfo(np.float64).tiny)
    labels = DBSCAN(eps=reach, min_samples=NEIGHBOURS).fit_predict(sample[:, None])
    changes = np.flatnonzero(labels[1:] != labels[:-1])
    widest = np.sort(changes[np.argsort(sample[changes] - sample[changes + 1], kind="stable")[: clusters - 1]])
    cuts = np.full(clusters - 1, np.inf)
    cuts[: len(widest)] = (sample[widest] + sample[widest + 1]) / 2
    return cuts


COMPARED: dict[str, GroupFunction] = {"gmm": group_by_mixture, "dbscan": group_by_density}


def sgg_compared(base: Optimizer, *, grouping: str, **settings: Any) -> SGG:
    """Put an SGG that groups by "gmm" or "dbscan", with scikit-learn in its step, on the CPU, around ``base``.

    Raises:
        ValueError: A setting out of range.
        ImportError: At the first recluster, without scikit-learn.
    """
    one_of("grouping", grouping, tuple(COMPARED))
    return SGG(base, grouping=COMPARED[grouping], **settings)
