"""An accelerator simulated in Python on torch's PrivateUse1 key, device ``sim``; importing this makes it, for good.

Tensors on it hold a CPU tensor, and every operator is computed by the CPU's. It refuses an operator that mixes tensors
of the host (of one dimension or more) with its own, and a generator of the host's, and notes in ``waits`` whatever
would make the host of a real device wait: a number read, a shape that depends on values, a copy to the host, a copy
from the host that is not asynchronous or not from pinned memory.
"""

from functools import partial
from typing import Any

import torch
import torch.utils.backend_registration as registration
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

waits: list[str] = []

# Operators whose result's shape depends on values: the host waits for it.
SHAPED_BY_VALUES = {
    "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive",
    "aten::bincount", "aten::equal", "aten::is_nonzero",
}  # fmt: skip
INDEXED = ("aten::index.Tensor", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_")
LOW_PRECISION = ("conv1d", "conv2d", "conv3d", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm")
RESHAPE = torch.ops.aten.as_strided_.default._op_dk
KEY = torch._C.DispatchKey.CompositeExplicitAutogradNonFunctional
COPIES = ("aten::_to_copy", "aten::copy_")


class Module(registration._DummyBackendModule):
    """What torch asks of a backend."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def get_rng_state(self, *_: Any) -> Tensor:
        return torch.zeros(0, dtype=torch.uint8)

    def set_rng_state(self, *_: Any) -> None:
        pass

    def manual_seed_all(self, *_: Any) -> None:
        pass

    def _is_in_bad_fork(self) -> bool:
        return False

    def synchronize(self, *_: Any) -> None:
        waits.append("synchronize")


class Sim(Tensor):
    """A tensor on the device."""

    raw: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw: Tensor) -> "Sim":
        made = Tensor._make_wrapper_subclass(
            cls, raw.size(), strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype,
            layout=raw.layout, device=torch.device("sim:0"),
        )  # fmt: skip
        made.raw = raw
        return made

    def untyped_storage(self) -> Any:
        """Stand in for torch's, which has none: who asks wants to know whether two tensors share memory."""
        return self.raw.untyped_storage()

    def data_ptr(self) -> int:
        return self.raw.data_ptr()

    def __deepcopy__(self, memo: Any) -> "Sim":
        """Copy as a parameter does, without the gradient; torch's own for subclasses takes that along."""
        if id(self) not in memo:
            memo[id(self)] = Sim(self.raw.detach().clone()).requires_grad_(self.requires_grad)
            memo[id(self)]._is_param = getattr(self, "_is_param", False)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.raw.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """Do one operator on the CPU, after looking at where its arguments lie and whether the host would wait."""
    name = func.name()
    leaves = tree_leaves((args, kwargs))
    if name.startswith("aten::_local_scalar_dense") or name in SHAPED_BY_VALUES or masked(name, args):
        waits.append(name)
    if name in COPIES:
        return copied(func, args, kwargs)
    refuse_mixed(name, leaves)
    out = func(*tree_map(inner, args), **tree_map(inner, kwargs))
    for leaf in leaves:
        if isinstance(leaf, Sim) and (leaf.raw.shape, leaf.raw.stride()) != (leaf.shape, leaf.stride()):
            RESHAPE(KEY, leaf, leaf.raw.size(), leaf.raw.stride(), leaf.raw.storage_offset())  # changed in place
    held = {id(leaf.raw): leaf for leaf in leaves if isinstance(leaf, Sim)}

    def outer(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return held[id(value)] if id(value) in held else Sim(value)

    return tree_map(outer, out)


def copied(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Copy between host and device, or within one of them."""
    name, source = func.name(), args[1] if func.name() == "aten::copy_" else args[0]
    if name == "aten::copy_":
        target, free = args[0].device, args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
    else:
        target, free = torch.device(kwargs.get("device") or source.device), kwargs.get("non_blocking", False)
    if isinstance(source, Sim) and target.type == "cpu":
        waits.append(f"{name} to the host")
    if not isinstance(source, Sim) and target.type == "sim" and not (free and getattr(source, "pinned", False)):
        waits.append(f"{name} from the host, {'not asynchronous' if not free else 'not pinned'}")
    if name == "aten::copy_":
        inner(args[0]).copy_(inner(source))
        return args[0]
    made = func(inner(source), **{**kwargs, "device": torch.device("cpu")})
    return Sim(made) if target.type == "sim" else made


def masked(name: str, args: Any) -> bool:
    """Say whether an index is a mask, which takes as many entries as are true."""
    return name.startswith(INDEXED) and any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])


def refuse_mixed(name: str, leaves: list[Any]) -> None:
    """Raise as a real device would."""
    for leaf in leaves:
        if isinstance(leaf, Tensor) and not isinstance(leaf, Sim) and leaf.dim() > 0:
            raise RuntimeError(f"{name}: a tensor of the host, {tuple(leaf.shape)}, among those of the device")
        if isinstance(leaf, torch.Generator) and leaf.device.type == "cpu":
            raise RuntimeError(f"{name}: Expected a 'sim' device type for generator but found 'cpu'")


def inner(value: Any) -> Any:
    """Return what stands for an argument on the CPU."""
    if isinstance(value, Sim):
        return value.raw
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == "sim" else value


def tolist(self: Tensor) -> Any:
    """Stand in for ``Tensor.tolist``, which torch refuses for subclasses."""
    return plain_tolist(self.cpu() if isinstance(self, Sim) else self)


def pin_memory(self: Tensor, *_: Any) -> Tensor:
    """Stand in for ``Tensor.pin_memory``, for which this torch has no allocator."""
    made = self.clone()
    made.pinned = True  # type: ignore[attr-defined]
    return made


def load(file: Any, map_location: Any = None, **options: Any) -> Any:
    """Stand in for ``torch.load``, which knows no storage of the device."""
    kept = plain_load(file, map_location="cpu", **options)
    return tree_map(lambda x: x.to(map_location) if isinstance(x, Tensor) and map_location else x, kept)


def tensor(data: Any, *, device: Any = None, **options: Any) -> Tensor:
    """Stand in for ``torch.tensor``, which from a list ends in ``INTERNAL ASSERT FAILED … func != nullptr``."""
    made = plain_tensor(data, **options)
    return made if device is None else made.to(device)


def new_tensor(self: Tensor, data: Any, **options: Any) -> Tensor:
    """Stand in for ``Tensor.new_tensor``, for the same reason."""
    return plain_tensor(data, dtype=options.get("dtype", self.dtype)).to(self.device)


def low(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Do an operator in autocast's type, as on a CPU; a backend says for itself which operators it casts."""
    dtype = torch.get_autocast_dtype("sim")
    lower = lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x  # noqa: E731
    with torch.autocast("sim", enabled=False):
        return op(*tree_map(lower, args), **tree_map(lower, kwargs))


def to(self: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """Stand in for ``Module.to``, which for subclasses makes new parameters, one for each name of a shared one."""
    names: dict[int, list[str]] = {}
    for name, parameter in self.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    made = plain_to(self, *args, **kwargs)
    for first, *others in names.values():
        for other in others:
            room, _, last = other.rpartition(".")
            setattr(made.get_submodule(room), last, made.get_parameter(first))
    return made


registration._setup_privateuseone_for_python_backend("sim", backend_module=Module())
library = torch.library.Library("_", "IMPL")
library.fallback(lambda op, *args, **kwargs: run(op, args, kwargs), "PrivateUse1")
factories = torch.library.Library("aten", "IMPL")
for factory in ("arange", "arange.start", "arange.start_step", "linspace", "eye", "eye.m", "randperm", "tril_indices"):
    # Else torch makes an empty tensor and lets another operator resize it.
    packet, _, overload = factory.partition(".")
    op = getattr(getattr(torch.ops.aten, packet), overload or "default")
    factories.impl(factory, lambda *args, op=op, **kwargs: run(op, args, kwargs), "PrivateUse1")
autocast = torch.library.Library("_", "IMPL")
autocast.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
for cast in LOW_PRECISION:
    factories.impl(cast, partial(low, getattr(torch.ops.aten, cast)), "AutocastPrivateUse1")
plain_tolist, plain_load, plain_tensor = Tensor.tolist, torch.load, torch.tensor
torch.load, torch.tensor = load, tensor
plain_to = nn.Module.to
nn.Module.to = to  # type: ignore[method-assign, assignment]
Tensor.new_tensor = new_tensor  # type: ignore[method-assign, assignment]
Tensor.tolist = tolist  # type: ignore[method-assign]
Tensor.pin_memory = pin_memory  # type: ignore[method-assign, assignment]
