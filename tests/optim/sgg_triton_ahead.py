"""Compile SGG's kernel for a GPU that need not be here, such as ``90``; print as JSON what it takes."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from regrad.optim.sgg_kernel import scaled_adam
from regrad.optim.sgg_triton import PIECE

NAMES = scaled_adam.arg_names
TYPES = {"owner": "*i32", "start": "*i64", "ends": "*i64", "table": "*i64", "numbers": "*fp32", "PIECE": "constexpr"}
OBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"

aligned = {(NAMES.index(name),): [["tt.divisibility", 16]] for name in NAMES if name != "PIECE"}
source = ASTSource(scaled_adam, signature=TYPES, constexprs={(NAMES.index("PIECE"),): PIECE}, attrs=aligned)
built = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32))
with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
    file.write(built.asm["cubin"])
    file.flush()
    said = subprocess.run([OBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
usage = dict(pair.split(":") for pair in said.strip().splitlines()[-1].split() if pair.startswith(("REG", "STACK")))
wide = {way: built.asm["ptx"].count(f"{way}.global.v4.b32") for way in ("ld", "st")}
sys.stdout.write(json.dumps({"registers": int(usage["REG"]), "stack": int(usage["STACK"]), "wide": wide}))
