"""What has no per-example gradient, or only a random one, refused by type before anything runs."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


class Refused(ValueError):  # noqa: N818 (says what happened to the model)
    """A model, or a call in it, that a method cannot answer exactly.

    Args:
        why: one line.
        final: whether no other method could, or `why` names the remedy; else `engine` tries the others.
    """

    def __init__(self, why: str, *, final: bool = False):
        super().__init__(why)
        self.final = final


def refuse_dependent_examples(model: nn.Module) -> None:
    """Refuse modules under which the loss of one example depends on the others, or on the random stream.

    Raises:
        ValueError: naming the module and the remedy.
    """
    for name, module in model.named_modules():
        _refuse_batch_norm(name, module)
        _refuse_randomness(name, module)
        _refuse_in_place_weights(name, module)
        # Recurrent and attention layers alike, also those of users who took over torch's argument.
        if getattr(module, "batch_first", True) is False:
            raise ValueError(
                f"{name} ({type(module).__name__}): the first axis must count examples; use batch_first=True"
            )


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The model's parameters that require a gradient, by name; ValueError where there is none."""
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise ValueError("model: no parameter requires a gradient")
    for name, parameter in trainable.items():
        if parameter.is_complex():
            raise ValueError(f"{name}: a complex parameter; view_as_real gives one whose square is a square")
    return trainable


def refuse_hooks(parameters: Mapping[str, Tensor]) -> None:
    """Refuse what a parameter's own hook would change about its gradient: only a backward pass to it calls the hook.

    Raises:
        Refused: naming the parameter.
    """
    for name, parameter in parameters.items():
        if parameter._backward_hooks:
            raise Refused(f"{name}: only a gradient formed by autograd passes its register_hook")


def _refuse_batch_norm(name: str, module: nn.Module) -> None:
    if not isinstance(module, _BatchNorm):
        return
    # Without running statistics it uses the batch in eval mode too, and torch.func lets that through.
    if module.training or module.running_mean is None:
        raise ValueError(
            f"{name} ({type(module).__name__}): each loss depends on the whole batch, so no "
            "per-example gradient exists; use GroupNorm, or eval() with running statistics"
        )


def _refuse_randomness(name: str, module: nn.Module) -> None:
    rate = 0.0
    if isinstance(module, _DropoutNd):
        rate = module.p
    elif isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        rate = module.dropout
    elif isinstance(module, nn.RReLU):
        rate = module.upper - module.lower
    if module.training and rate > 0:
        raise ValueError(
            f"{name} ({type(module).__name__}, {rate}) draws fresh noise: the methods would draw "
            "different masks, and a statistic would mix that noise with the data's; "
            "set p=0 or call eval() on it"
        )


def _refuse_in_place_weights(name: str, module: nn.Module) -> None:
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
        raise ValueError(f"{name}: max_norm rewrites the weight inside forward; renormalise outside the step")
    if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.scale_grad_by_freq:
        raise ValueError(f"{name}: scale_grad_by_freq counts over the whole batch; set it to False")
    pre_hooks = getattr(module, "_forward_pre_hooks", {}).values()
    if module.training and any(type(hook).__name__ == "SpectralNorm" for hook in pre_hooks):
        raise ValueError(f"{name}: spectral_norm updates its vectors in forward; call eval() or remove it")
