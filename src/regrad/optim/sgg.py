"""SGG (Scaling with Gradient Grouping) around any base optimizer.

Acts on: the update. Every `interval` steps the entries of each tensor's momentum are grouped into clusters;
each cluster's part of the update is multiplied by its own slowly moving scale.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from regrad.optim import sgg_triton
from regrad.optim.base_state import decay_factor
from regrad.optim.sgg_compiled import compiled_step, kernel, takes
from regrad.optim.sgg_folded import EntryScale, folded_step, folds
from regrad.optim.sgg_public_c4 import public_c4_gradients, update_group_scales
from regrad.optim.sgg_recluster import recluster
from regrad.optim.sgg_settings import SGGSettings
from regrad.optim.wrapper import OptimizerWrapper
from regrad.transforms.gradient_grouping import materialize, scale_displacement
from regrad.transforms.grouping import GroupFunction


class SGG(OptimizerWrapper):
    """Scale a base optimizer's update by clusters of momentum values.

    A step has two phases: the base optimizer steps all parameters; at steps t = T, 2T, ... all tensors are
    clustered and the global deviation is taken over them; then every displacement is multiplied, entry by
    entry, by S[cluster]. Before step T, and with one cluster, nothing is touched: the base optimizer bit for
    bit. Around torch's Adam, AdamW and SGD ordinary steps fold the scale into the update instead
    (`regrad.optim.sgg_folded`).

    State per parameter: ``index`` (uint8, a cluster per entry), ``scale`` (float32 [K]), for "public_v2" also
    ``centres`` [K]. Learning-rate schedulers belong on the wrapper.

    Args:
        base: Any optimizer that steps without a closure; do not step it directly afterwards.
        clusters: K in [1, 256]; 1 switches SGG off.
        interval: T >= 1, steps between reclusters; the first is at step T.
        beta3: beta_3 in [0, 1] of eq. 7, applied once per recluster (every step in "public_c4"'s group
            scale).
        bounds: Clamp of the scales, 0 < low <= high.
        eps: Added to a cluster's deviation in eq. 6, > 0.
        feature: What is clustered: "abs_momentum", "momentum", "abs_gradient", "gradient", "second_moment".
            The first two are the gradient's where the base optimizer keeps no momentum.
        statistic: D in eqs. 5 and 6: "mda", "mad", "l2", "mean" (see `regrad.transforms.cluster_statistics`).
        global_deviation: The D above the fraction: over all "entries" of all tensors, or the median over all
            "clusters" of all tensors.
        variant: "paper"; "public_v2" or "public_c4" behave as the two public implementations that look like
            the authors' (see `regrad.transforms.gradient_grouping`), also where that contradicts the paper.
        grouping: "histogram" (near-exact, fast), "exact" (sorting), "minibatch" (scikit-learn on the CPU), or a
            function with the arguments and result of `regrad.transforms.grouping.group_exactly`.
        centre_decay: "public_v2" only: EMA constant in [0, 1] of its cluster means; None means beta3.
        exclude: Parameters that stay unscaled, besides those of dimension < 2 (which "public_v2" does scale).
        scale_weight_decay: Scale decoupled weight decay along with the update. Where its size cannot be read
            off the base optimizer (`regrad.optim.base_state.decay_factor`) it is scaled in any case.
        materialize: Keep S[index] (4 bytes per entry) and, on the general path, a buffer as large as the
            scaled parameters. False computes both at every step. Neither is saved.
        index_device: None keeps the index beside its parameter, "cpu" in main memory.
        compiled: Around Adam and AdamW (fused or not) in float32, ordinary steps in one pass over memory: on a CPU by a
            loop that is compiled once (`regrad.optim.sgg_compiled`), 1.1 to 1.3 times a step of torch's fused AdamW,
            not 2.4, for which it needs a C++ compiler; on a GPU by a Triton kernel (`regrad.optim.sgg_triton`).
            Equal to the other paths up to rounding.

    Raises:
        ValueError: If a setting is out of range, a parameter is complex or sharded, or ``base`` cannot be wrapped.

    Source: SGG (arXiv 2506.01049v1), algorithm 1, eqs. 5-7.
    Departures: The paper leaves open, and this class chooses: |m| is clustered (as in both public codes and
        App. C), D is over all entries, the raw ratio is clamped before the EMA, decoupled weight decay is not
        scaled, the statistic of an empty cluster leaves its scale as it is, a tensor with fewer entries than
        clusters, with no spread or with nan or infinite features sits the recluster out. Off Adam, AdamW and
        SGD the displacement that is scaled has been rounded to the parameter's dtype once. The public
        variants are re-implemented from their observed behaviour. Complex parameters are refused, and sharded ones
        (DTensor): their clusters would be those of a shard.
    """

    def __init__(
        self,
        base: Optimizer,
        *,
        clusters: int = 3,
        interval: int = 500,
        beta3: float = 0.99,
        bounds: tuple[float, float] = (0.1, 10),
        eps: float = 1e-8,
        feature: str = "abs_momentum",
        statistic: str = "mda",
        global_deviation: str = "entries",
        variant: str = "paper",
        grouping: str | GroupFunction = "histogram",
        centre_decay: float | None = None,
        exclude: Iterable[Tensor] = (),
        scale_weight_decay: bool = False,
        materialize: bool = True,
        index_device: str | None = None,
        compiled: bool = False,
    ) -> None:
        self.settings = SGGSettings(
            clusters, interval, beta3, bounds, eps, feature, statistic, global_deviation, variant, grouping,
            centre_decay, scale_weight_decay, materialize, index_device, compiled,
        )  # fmt: skip
        if compiled:  # without a compiler this is the moment to say so
            on_gpu = any(p.is_cuda for group in base.param_groups for p in group["params"])
            sgg_triton.check() if on_gpu else kernel()
        self.exclude = list(exclude)
        if not all(isinstance(p, Tensor) for p in self.exclude):
            raise ValueError(f"exclude must hold parameters (tensors), got {self.exclude!r}")
        self.progress: dict[str, Any] = {"steps": 0, "reference": None, "group_scales": []}
        self._forget_caches()
        super().__init__(base)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to both optimizers, with the base optimizer's defaults.

        Raises:
            ValueError: If a parameter is complex, or sharded over processes.
        """
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        if any(isinstance(p, Tensor) and p.is_complex() for p in params):
            raise ValueError("params must be real, got a complex parameter; view it as real")
        if any(hasattr(p, "full_tensor") for p in params):
            raise ValueError("params must be whole for SGG, got a sharded one (DTensor); use DistributedDataParallel")
        super().add_param_group({**param_group, "params": params})

    def take_step(self) -> None:
        """Step the base optimizer and scale what it did (see the class)."""
        settings, moving = self.settings, self._moving()
        self.progress["steps"] += 1
        if settings.variant == "public_c4" and self._options.get("statistics"):
            raise ValueError("variant 'public_c4' scales gradients, and statistics are not scaled along; use 'paper'")
        if settings.clusters == 1:
            self.step_base()
        elif settings.variant == "public_c4":
            with public_c4_gradients([p for _, p in moving]):
                groups = [[p for n, p in moving if n == number] for number in range(len(self.param_groups))]
                update_group_scales(groups, self.progress, settings)
                self._step_and_scale([p for _, p in moving])
        elif self.progress["steps"] % settings.interval == 0:
            self._step_and_scale([p for _, p in moving if self._clustered(p)])
        else:
            self._ordinary_step([p for _, p in moving if "scale" in self.state.get(p, {})])

    def mean_scale(self) -> float:
        """Return the mean of S over all entries of all parameters: the factor for a matched learning rate."""
        total, entries = 0.0, 0
        for number, group in enumerate(self.param_groups):
            for p in group["params"]:
                entries += p.numel()
                mean = 1.0
                if "scale" in self.state.get(p, {}):
                    index, scale = self.state[p]["index"], self.state[p]["scale"]
                    sizes = torch.bincount(index.flatten(), minlength=len(scale))
                    mean = float((sizes * scale.double()).sum()) / p.numel()
                total += p.numel() * mean * self._group_scale(number, p)
        return total / max(entries, 1)

    def state_device(self, param: Tensor) -> torch.device:
        """Return where the index and the scales of ``param`` are kept."""
        return torch.device(self.settings.index_device or param.device)

    def saved_numbers(self) -> dict[str, Any]:
        """Return the count of steps and what "public_c4" keeps besides."""
        return {**self.progress, "group_scales": list(self.progress["group_scales"])}

    def load_numbers(self, numbers: Mapping[str, Any]) -> None:
        """Restore them; training goes on bit for bit, also between two reclusters."""
        self.progress = {
            **{key: numbers[key] for key in ("steps", "reference")},
            "group_scales": list(numbers["group_scales"]),
        }
        self._forget_caches()

    def _settings_text(self) -> str:
        """Return the settings that are not the defaults', after the three that name the method."""
        named = ("clusters", "interval", "beta3", "variant")
        usual = {p.name: p.default for p in inspect.signature(SGG).parameters.values()}
        shown = [(n, v) for n, v in vars(self.settings).items() if n in named or v != usual[n]]
        return ", ".join(f"{name}={value!r}" for name, value in shown)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: everything but caches and hooks."""
        own = {"settings": self.settings, "exclude": self.exclude, "progress": self.progress}
        return super().__getstate__() | own

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled or copied wrapper, with empty caches."""
        super().__setstate__(state)
        self._forget_caches()

    def _forget_caches(self) -> None:
        self._entries: dict[Tensor, Tensor] = {}
        self._buffers: dict[Tensor, Tensor] = {}

    def _moving(self) -> list[tuple[int, Tensor]]:
        """Return the parameters that step and may be scaled, each with the number of its group."""
        excluded = set(self.exclude)
        groups = enumerate(self.param_groups)
        return [(n, p) for n, group in groups for p in group["params"] if p.grad is not None and p not in excluded]

    def _clustered(self, p: Tensor) -> bool:
        least = 0 if self.settings.variant == "public_v2" else 2
        return p.dim() >= least and p.numel() >= self.settings.clusters

    def _ordinary_step(self, params: list[Tensor]) -> None:
        """Step between reclusters; ``params`` have scales."""
        keep_decay = not self.settings.scale_weight_decay
        if not params:
            self.step_base()
        elif self.settings.compiled and keep_decay and self._compiled_step(params):
            pass
        elif keep_decay and folds(self.base, scales := {p: self._entry_scale(p) for p in params}):
            folded_step(self.base, scales)
        else:
            self._step_and_scale(params)

    def _compiled_step(self, params: list[Tensor]) -> bool:
        """Step by a kernel or a compiled loop, where one takes all parameters; return whether it did."""
        tables = {p: EntryScale(None, self.state[p]["index"], self.state[p]["scale"]) for p in params}
        if sgg_triton.takes(self.base, tables):
            sgg_triton.kernel_step(self.base, tables)
        elif takes(self.base, entries := self._all_entries(params)):
            compiled_step(self.base, entries)
        else:
            return False
        return True

    def _step_and_scale(self, params: list[Tensor]) -> None:
        """Let the base optimizer step, recluster if it is time, and scale the displacements of ``params``."""
        chosen, groups = set(params), list(enumerate(self.param_groups))
        members = [(n, p, group) for n, group in groups for p in group["params"] if p in chosen]
        starts = [self._start(p, group) for _, p, group in members]
        self.step_base()
        if self.progress["steps"] % self.settings.interval == 0:
            clustered = [p for p in params if self._clustered(p)]
            recluster(self.base, clustered, self.state, self.settings)
            for p in clustered:
                self._entries.pop(p, None)
        for (n, p, _), start in zip(members, starts, strict=True):
            self._scale(p, start, self._group_scale(n, p))

    def _start(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        """Return where the displacement to be scaled starts: ``p``, decayed unless decay is scaled."""
        start = self._buffers.get(p)
        if start is None or start.shape != p.shape or start.device != p.device:
            start = torch.empty_like(p)
            if self.settings.materialize:
                self._buffers[p] = start
        factor = 1.0 if self.settings.scale_weight_decay else decay_factor(self.base, group)
        return start.copy_(p) if factor == 1.0 else torch.mul(p, factor, out=start)

    def _scale(self, p: Tensor, start: Tensor, factor: float) -> None:
        if "scale" in self.state.get(p, {}):
            scale = self._entry_scale(p)
            entries = scale.entries if scale.entries is not None else materialize(scale.places, scale.table, p)
            scale_displacement(start, p, entries if factor == 1.0 else entries * factor)
        elif factor != 1.0:
            dtype = torch.float64 if p.dtype == torch.float64 else torch.float32
            scale_displacement(start, p, torch.full_like(p, factor, dtype=dtype))

    def _all_entries(self, params: list[Tensor]) -> dict[Tensor, Tensor]:
        """Return the scale of every entry of ``params``."""
        scales = {p: self._entry_scale(p) for p in params}
        return {p: materialize(s.places, s.table, p) if s.entries is None else s.entries for p, s in scales.items()}

    def _entry_scale(self, p: Tensor) -> EntryScale:
        state = self.state[p]
        if self.settings.materialize and p not in self._entries:
            self._entries[p] = materialize(state["index"], state["scale"], p)
        return EntryScale(self._entries.get(p), state["index"], state["scale"])

    def _group_scale(self, number: int, p: Tensor) -> float:
        """Return the factor of "public_c4" for all parameters of a group; 1 in the other variants."""
        scales = self.progress["group_scales"]
        return scales[number] if number < len(scales) and not any(p is q for q in self.exclude) else 1.0
