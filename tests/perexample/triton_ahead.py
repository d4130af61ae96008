"""Compile the fused kernel for a GPU that need not be here, such as ``90``; print as JSON what it takes."""

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from regrad.perexample.requests import KINDS
from regrad.perexample.triton_linear import _fold_kernel, largest_tile

NAMES = _fold_kernel.arg_names
FLOAT = ("total", "squares", "absolutes", "signs", "norms")
DIVISIBLE = ("G", "A", *FLOAT, "T", "out", "width")  # by 16, as in networks
OBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
CASES = itertools.product(("bf16", "fp32"), (("sum", "square"), tuple(KINDS)))


def source(dtype: str, kinds: tuple[str, ...], tile: tuple[int, int]) -> Any:
    """The kernel with what `fold_on_device` gives it for long sequences and wide layers, norms asked for."""
    kind = dict.fromkeys(("G", "A"), f"*{dtype}") | dict.fromkeys(FLOAT, "*fp32") | {"weight": "fp32"}
    constants: dict[str, Any] = dict(
        zip(("SUM", "SQUARE", "ABS", "SIGN"), (kind in kinds for kind in KINDS), strict=True)
    )
    constants |= {"NORM": True, "ROWS": tile[0], "COLUMNS": tile[1], "STEP": 32 if dtype == "fp32" else 64}
    constants["PRECISION"] = "ieee" if dtype == "fp32" else "tf32"
    types = {name: "constexpr" if name in constants else kind.get(name, "i32") for name in NAMES}
    places = {(NAMES.index(name),): value for name, value in constants.items()}
    aligned = {(NAMES.index(name),): [["tt.divisibility", 16]] for name in DIVISIBLE}
    return ASTSource(_fold_kernel, signature=types, constexprs=places, attrs=aligned)


def taken(capability: int, dtype: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Registers of a thread, bytes of stack (what was spilled) and of shared memory, and tensor-core instructions."""
    precision = torch.bfloat16 if dtype == "bf16" else torch.float32
    tile = largest_tile(len(kinds), precision, capability // 10)
    built = triton.compile(
        source(dtype, kinds, tile), target=GPUTarget("cuda", capability, 32), options={"num_warps": 8}
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        said = subprocess.run([OBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    usage = dict(pair.split(":") for pair in said.strip().splitlines()[-1].split() if pair.startswith(("REG", "STACK")))
    products = sum(built.asm["ptx"].count(word) for word in ("wgmma.mma", "mma.sync"))
    made = {"dtype": dtype, "kinds": len(kinds), "tile": tile, "shared": built.metadata.shared, "products": products}
    return made | {"registers": int(usage["REG"]), "stack": int(usage["STACK"])}


if __name__ == "__main__":
    sys.stdout.write(json.dumps([taken(int(sys.argv[1]), *case) for case in CASES]))
