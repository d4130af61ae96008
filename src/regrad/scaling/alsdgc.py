"""ALSDGC: one object that scales the loss and clips the gradient, on five rungs from literal to repaired.

Acts on: the loss (scaling) and the gradient (unscaling, clipping).
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

import regrad.transforms.checks as checks
from regrad.scaling.controller import Clip, Controller, StepOutcome
from regrad.scaling.gradients import gradients_of, read_numbers, unscale_
from regrad.scaling.order import OrderOfUse, count_entries
from regrad.scaling.variants import RUNGS, Settings
from regrad.transforms.clipping import Moments


@dataclass
class Visit:
    """One optimizer's passage between two calls of ``update``; ``outcome`` stays None without gradients."""

    clip: Clip
    found_inf: Tensor | float = 0.0
    stepped: bool = False
    outcome: StepOutcome | None = None


class ALSDGC:
    """Adaptive loss scaling with dynamic gradient clipping, used like ``torch.amp.GradScaler``.

    Each iteration: ``scale(loss).backward()``, ``step(optimizer)``, ``update()``; ``unscale_(optimizer)``
    between the first two if you want to see true gradients. Gradients are unscaled and clipped in place.
    ``step`` clips by itself: no ``clip_grad_norm_``.

    ======= ============================================= ======================================
    variant adds                                          amounts to
    ======= ============================================= ======================================
    V0      the printed algorithm: clips and applies      a learning rate times up to 65,536
            *scaled* gradients
    V1      unscaling before clipping                     in float32, the base optimizer
    V2      skipped overflows, ``growth_interval``        ``GradScaler`` (plus an inert threshold)
    V3      threshold = ``multiple`` x average norm       ``GradScaler`` + EMA clipping
    V4      ``multiple`` shrinks when the loss stands out the only rung where the loss acts
    ======= ============================================= ======================================

    Per optimizer step the host waits for the device once, as ``GradScaler`` does: the overflow flag it
    reads brings the norm and the loss along. (With ``fused=True`` optimizers ``GradScaler`` does not wait
    at all; this class still does.) Everything it keeps is a number.

    The scale is shared; threshold and average belong to each optimizer, matched after a resume by the
    order in which optimizers are first seen. A step whose gradients are not finite (V2-V4) changes
    nothing but the scale; a step without gradients changes nothing.

    Args:
        variant: "V0" to "V4".
        init_scale: s0; None for the variant's own (1 for V0 and V1, else 2**16).
        init_threshold: θ0, > 0 or inf; None for the variant's own (V0-V2: 1, V3-V4: inf). V3 and V4 use
            it during the warm-up. inf never clips (V0-V2).
        growth_factor: Multiplies the scale, > 1.
        backoff_factor: Multiplies the scale after an overflow, in (0, 1).
        growth_interval: V2-V4: steps without overflow that earn a growth.
        min_scale: Floor of the scale after an overflow; 0 for none, as in ``GradScaler``.
        max_scale: Ceiling of the scale; 2**127 for none, as in ``GradScaler``.
        adjustment_factor: V0-V2: the threshold is multiplied or divided by it each step, > 1. The
            learning rate of the optimizer's first group is the one compared with.
        norm_type: p of the joint norm, > 0 or inf.
        beta: V3-V4: weight of the past in the running averages, in [0, 1).
        warmup_steps: V3-V4: steps before the average norm takes over the threshold and V4's gate opens.
        multiple: V3-V4: k0 in θ = k * mean; V4 keeps k in [min_multiple, 2 * multiple].
        min_multiple: V4: least k. With k near 1 the average falls a little at every step.
        gate_zscore: V4: a loss this many standard deviations above its average is high.
        gate_factor: V4: k is divided by it after a high loss, > 1.
        gate_recovery: V4: other losses that undo one such division.
        frozen: Hold scale and threshold at their initial values (a placebo); overflows still skip.

    Raises:
        ValueError: If a hyperparameter is out of range; the message has its name.

    Source: ALSDGC, section 3, steps 1-9 (V0); its remarks on smoothing and ``growth_interval`` (V2-V4).
    Departures: the paper gives no s0, θ0, averages or gate: these constants are ours. A step without
        gradients is no step (the printed functions would count it). ``frozen`` is for experiments.
    """

    def __init__(
        self,
        variant: str = "V4",
        *,
        init_scale: float | None = None,
        init_threshold: float | None = None,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 1000,
        min_scale: float = 1.0,
        max_scale: float = 2.0**16,
        adjustment_factor: float = 1.1,
        norm_type: float = 2.0,
        beta: float = 0.98,
        warmup_steps: int = 100,
        multiple: float = 2.0,
        min_multiple: float = 1.0,
        gate_zscore: float = 3.0,
        gate_factor: float = 1.1,
        gate_recovery: int = 100,
        frozen: bool = False,
    ) -> None:
        checks.one_of("variant", variant, tuple(RUNGS))
        self.variant = variant
        self.rung = RUNGS[variant]
        settings = Settings(
            init_scale=self.rung.init_scale if init_scale is None else init_scale,
            init_threshold=self.rung.init_threshold if init_threshold is None else init_threshold,
            growth_factor=growth_factor, backoff_factor=backoff_factor, growth_interval=growth_interval,
            min_scale=min_scale, max_scale=max_scale, adjustment_factor=adjustment_factor,
            norm_type=norm_type, beta=beta, warmup_steps=warmup_steps, multiple=multiple,
            min_multiple=min_multiple, gate_zscore=gate_zscore, gate_factor=gate_factor,
            gate_recovery=gate_recovery, frozen=frozen,
        )  # fmt: skip
        self.settings = settings
        self._controller = Controller(self.rung, settings, float(settings.init_scale), float(multiple))
        self._start_iteration()
        self._order = OrderOfUse()

    def scale(self, outputs: Any) -> Any:
        """Multiply a loss, or each of a list, tuple or iterable of losses, by the scale.

        V4 watches the mean of all losses scaled since the last ``update``, detached and unscaled.
        """
        if isinstance(outputs, Tensor):
            if self.rung.watches_loss:
                self._watched_losses.append(outputs.detach().mean())
            return outputs * torch.full((), self.get_scale(), device=outputs.device, dtype=torch.float32)
        if isinstance(outputs, Iterable):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, list | tuple) else scaled  # type: ignore[call-arg]
        raise ValueError(f"outputs must be a Tensor or an iterable of Tensors, got {type(outputs).__name__}")

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the optimizer's gradients by the scale, in place, and note whether all are finite.

        V0 has no unscaling: there it does nothing.

        Raises:
            RuntimeError: If called twice, or after ``step``, within one iteration.
        """
        if optimizer in self._visits:
            done = "step()" if self._visits[optimizer].stepped else "unscale_()"
            raise RuntimeError(f"unscale_() after {done}: it may be called once per optimizer and update()")
        visit = Visit(self._clip_of(optimizer))
        if self.rung.unscales:
            grads = gradients_of(optimizer)
            if grads:
                visit.found_inf = unscale_(grads, self.get_scale())
        self._visits[optimizer] = visit

    def step(self, optimizer: Optimizer, closure: None = None) -> Any:
        """Unscale if that is still to do, clip, and step the optimizer unless a gradient is not finite.

        Returns:
            What ``optimizer.step()`` returns; None if the step was skipped.

        Raises:
            RuntimeError: For a closure, or a second step before ``update``.
        """
        if closure is not None:
            raise RuntimeError("closure is not supported: call scale(loss).backward(), then step(optimizer)")
        if optimizer not in self._visits:
            self.unscale_(optimizer)
        visit = self._visits[optimizer]
        if visit.stepped:
            raise RuntimeError("step() has been called for this optimizer since the last update()")
        visit.stepped = True
        grads = gradients_of(optimizer)
        if grads and not self._admit_(grads, visit, optimizer):
            return None
        return optimizer.step()

    def update(self) -> None:
        """Close the iteration: move the scale, V4's multiple and the thresholds of the optimizers stepped.

        Raises:
            RuntimeError: If no optimizer has been stepped since the last ``update``.
        """
        visits = [visit for visit in self._visits.values() if visit.stepped]
        if not visits:
            raise RuntimeError("update() must follow step(optimizer)")
        self._controller.advance([visit.outcome for visit in visits if visit.outcome], self._loss)
        self._start_iteration()

    def get_scale(self) -> float:
        """Return the present loss scale; unlike ``GradScaler``'s, this does not wait for the device."""
        return self._controller.scale

    def get_threshold(self, optimizer: Optimizer) -> float:
        """Return the threshold of this optimizer's next step, in units of true (V0: scaled) gradients."""
        return self._clip_of(optimizer).threshold

    def readings(self, optimizer: Optimizer) -> dict[str, float]:
        """Return what a plot needs: scale, multiple, threshold, last norm, and counts of steps so far.

        ``norm`` is that of the last step not skipped, before clipping; ``steps`` counts steps with
        gradients, of which ``clipped`` and ``skipped`` are parts.
        """
        names = ("threshold", "norm", "steps", "clipped", "skipped")
        clip = self._clip_of(optimizer)
        shared = {"scale": self._controller.scale, "multiple": self._controller.multiple}
        return shared | {name: getattr(clip, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain numbers; the hyperparameters are not part of it.

        Raises:
            RuntimeError: Between ``unscale_`` or ``step`` and ``update``.
        """
        if self._visits:
            raise RuntimeError("state_dict() must follow update(): an optimizer has been unscaled or stepped")
        control = self._controller
        for number, optimizer in self._order:  # a group may have been added since
            control.clips[number].entries = count_entries(optimizer)
        return {
            "variant": self.variant,
            "scale": control.scale,
            "multiple": control.multiple,
            "good_steps": control.good_steps,
            "losses": list(control.losses),
            "optimizers": [asdict(clip) | {"norms": list(clip.norms)} for clip in control.clips],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, into a scaler of the same variant and hyperparameters.

        Raises:
            ValueError: If the state is another variant's.
        """
        if state_dict.get("variant") != self.variant:
            raise ValueError(f"variant of the state must be {self.variant!r}, got {state_dict.get('variant')!r}")
        clips = [Clip(**entry | {"norms": Moments(*entry["norms"])}) for entry in state_dict["optimizers"]]
        self._controller = Controller(
            self.rung, self.settings, losses=Moments(*state_dict["losses"]), clips=clips,
            **{name: state_dict[name] for name in ("scale", "multiple", "good_steps")},
        )  # fmt: skip
        self._start_iteration()
        self._order = OrderOfUse()

    def __getstate__(self) -> dict[str, Any]:
        """Let copies be made between iterations only."""
        if self._visits:
            raise RuntimeError("a scaler can be copied or pickled only after update()")
        return self.__dict__

    def _start_iteration(self) -> None:
        self._visits: dict[Optimizer, Visit] = {}
        self._watched_losses: list[Tensor] = []
        self._loss = math.nan

    def _clip_of(self, optimizer: Optimizer) -> Clip:
        """Return the optimizer's record: its own, the next one loaded, or a fresh one."""
        clips, is_known = self._controller.clips, optimizer in self._order
        number = self._order.number(optimizer)
        if number == len(clips):
            clips.append(Clip(count_entries(optimizer), float(self.settings.init_threshold)))
        if not is_known and clips[number].entries != count_entries(optimizer):
            raise ValueError(
                f"optimizer number {number} must have {clips[number].entries} parameter entries as in the "
                f"loaded state, got {count_entries(optimizer)}: optimizers are matched in order of first use"
            )
        return clips[number]

    def _admit_(self, grads: list[Tensor], visit: Visit, optimizer: Optimizer) -> bool:
        """Clip the gradients if need be and say whether the optimizer may step on them."""
        total_norm = get_total_norm(grads, self.settings.norm_type)
        lr = 0.0 if self.rung.averages_norms else optimizer.param_groups[0]["lr"]
        found_inf, norm, lr, *losses = read_numbers([visit.found_inf, total_norm, lr, *self._watched_losses])
        self._loss = sum(losses) / len(losses) if losses else math.nan
        clip = visit.clip
        visit.outcome = StepOutcome(clip, self.rung.skips_overflows and found_inf > 0, lr)
        clip.steps += 1
        if visit.outcome.overflowed:
            clip.skipped += 1
            return False
        clip.norm = norm
        # A nan norm clips nothing, as printed. Rounding decides near the threshold, hence on the device:
        # there the coefficient is float32 and capped at 1, so a call too many changes no bit.
        if clip.threshold / (norm + 1e-6) < 1.0 + 1e-6:
            clip.clipped += int(norm > clip.threshold)
            params = (p for group in optimizer.param_groups for p in group["params"])
            clip_grads_with_norm_(params, clip.threshold, total_norm)
        return True
