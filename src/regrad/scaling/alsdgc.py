"""ALSDGC: one object that scales the loss and clips the gradient, on five rungs from literal to repaired.

Acts on: the loss (scaling) and the gradient (unscaling, clipping).
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

import regrad.transforms.checks as checks
from regrad.scaling.admission import Visit, admit_
from regrad.scaling.controller import Clip, Controller
from regrad.scaling.gradients import gradients_of, unscale_
from regrad.scaling.order import OrderOfUse, count_entries
from regrad.scaling.saving import restored, saved
from regrad.scaling.variants import LARGEST_SCALE, RUNGS, Settings


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
        enabled: False makes every call do nothing, and ``step`` the optimizer's step, as in ``GradScaler``.

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
        enabled: bool = True,
    ) -> None:
        checks.one_of("variant", variant, tuple(RUNGS))
        checks.flag("enabled", enabled)
        self._enabled, self._has_scaled = enabled, False
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
        if not self._enabled:
            return outputs
        self._has_scaled = True
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
            RuntimeError: If called twice, or after ``step``, within one iteration, or before any ``scale(loss)``.
        """
        if not self._enabled:
            return
        if optimizer in self._visits:
            done = "step()" if self._visits[optimizer].stepped else "unscale_()"
            raise RuntimeError(f"unscale_() after {done}: it may be called once per optimizer and update()")
        visit, grads = Visit(self._clip_of(optimizer)), gradients_of(optimizer)
        if grads and not self._has_scaled:
            raise RuntimeError(
                "no loss has been scaled: call scaler.scale(loss).backward() in place of loss.backward(); "
                f"these gradients would be taken for {self.get_scale():g} times what they are"
            )
        if grads and self.rung.unscales:
            visit.found_inf = unscale_(grads, self.get_scale())
        self._visits[optimizer] = visit

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """Unscale if that is still to do, clip, and step the optimizer unless a gradient is not finite.

        Args:
            optimizer: What to step.
            args: Passed on to ``optimizer.step``.
            kwargs: The same; a ``closure`` is refused.

        Returns:
            What ``optimizer.step()`` returns; None if the step was skipped.

        Raises:
            RuntimeError: For a closure, or a second step before ``update``.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if kwargs.pop("closure", None) is not None or any(callable(x) for x in args):
            raise RuntimeError("closure is not supported: call scale(loss).backward(), then step(optimizer)")
        if optimizer not in self._visits:
            self.unscale_(optimizer)
        visit = self._visits[optimizer]
        if visit.stepped:
            raise RuntimeError("step() has been called for this optimizer since the last update()")
        visit.stepped = True
        grads = gradients_of(optimizer)
        if grads:
            given = (self.rung, self.settings, self._watched_losses)
            is_admitted, self._loss = admit_(grads, visit, optimizer, given=given)
            if not is_admitted:
                return None
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Close the iteration: move the scale, V4's multiple and the thresholds of the optimizers stepped.

        Args:
            new_scale: If given, only the scale is set, to this number or one-element tensor, > 0.

        Raises:
            RuntimeError: If no optimizer has been stepped since the last ``update``.
            ValueError: If ``new_scale`` is out of range.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            scale = float(new_scale)
            checks.in_range("new_scale", scale, 0.0, LARGEST_SCALE, open_low=True)
            self._controller.scale = scale
            self._start_iteration()
            return
        visits = [visit for visit in self._visits.values() if visit.stepped]
        if not visits:
            raise RuntimeError("update() must follow step(optimizer)")
        self._controller.advance([visit.outcome for visit in visits if visit.outcome], self._loss)
        self._start_iteration()

    def get_scale(self) -> float:
        """Return the present loss scale; unlike ``GradScaler``'s, this does not wait for the device."""
        return self._controller.scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Return whether the scaler does anything."""
        return self._enabled

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
        if not self._enabled:
            return {}
        if self._visits:
            raise RuntimeError("state_dict() must follow update(): an optimizer has been unscaled or stepped")
        return saved(self.variant, self._controller, self._order)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, into a scaler of the same variant and hyperparameters.

        Raises:
            ValueError: If the state is another variant's.
        """
        if not self._enabled:
            return
        if state_dict.get("variant") != self.variant:
            raise ValueError(f"variant of the state must be {self.variant!r}, got {state_dict.get('variant')!r}")
        self._controller = restored(state_dict, self.rung, self.settings)
        self._start_iteration()
        self._order = OrderOfUse()

    def __repr__(self) -> str:
        """Return variant, scale and the settings that are not the variant's own."""
        usual = ALSDGC(self.variant).settings
        own = [f"{k}={v!r}" for k, v in vars(self.settings).items() if v != getattr(usual, k)]
        shown = [repr(self.variant), *own, *(["enabled=False"] if not self._enabled else [])]
        return f"ALSDGC({', '.join(shown)})  # scale {self.get_scale():g}"

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
