#!/usr/bin/env bash
# Everything that a GPU lent for ten minutes is asked for, what decides most first; docs/gpu.md says what comes of it.
#   benchmarks/gpu.sh              on a machine with a GPU
#   benchmarks/gpu.sh --rehearse   on any machine: the same way at tiny sizes on the CPU, into build/gpu-rehearsal
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

PYTHON=${PYTHON:-.venv/bin/python}
[ -x "$PYTHON" ] || { echo "gpu.sh: no $PYTHON; ./reproduce.sh --help makes it" >&2; exit 3; }
rehearse=${1:-}
case $rehearse in
"") device=cuda preset=full minutes=4 out=results/reference/benchmarks small=() ;;
--rehearse) device=cpu preset=smoke minutes=${REHEARSAL_MINUTES:-1} out=build/gpu-rehearsal/benchmarks small=(--rehearse) ;;
*) echo "gpu.sh: unknown argument '$rehearse'; allowed: --rehearse" >&2; exit 2 ;;
esac
mkdir -p "$out"
failed=()

part() { # name, seconds at most, command: what fails or is too long is said, and the rest goes on
    local name=$1 seconds=$2 began=$SECONDS
    shift 2
    echo "gpu.sh: $name" >&2
    timeout --signal=TERM --kill-after=10 "$seconds" "$@" || failed+=("$name (exit $?)")
    echo "gpu.sh: $name took $((SECONDS - began)) s" >&2
}

if [ "$device" = cuda ] && ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "gpu.sh: torch finds no usable GPU here; docs/gpu.md says what it needs, --rehearse runs without" >&2
    exit 3
fi
export OMP_NUM_THREADS=1

part "engine" 90 "$PYTHON" benchmarks/perexample.py --device "$device" --rounds 5 --out "$out/perexample-$device.json" \
    ${small:+--workloads "MLP B64" --rounds 1}
part "steps" 50 "$PYTHON" benchmarks/gpu_steps.py --out "$out/steps-$device.json" "${small[@]}"
part "runs" $((minutes * 60 + 30)) "$PYTHON" -m regrad runs --preset "$preset" --device "$device" --minutes "$minutes"
# 4 says that time is over, which is what the minutes are for.
[ "${failed[*]: -1}" = "runs (exit 4)" ] && unset 'failed[-1]'
[ "$device" = cpu ] || part "publish" 20 "$PYTHON" -m regrad publish "$preset-$device"
part "tests" 80 "$PYTHON" -m pytest -q -m gpu --numprocesses auto --maxprocesses 8 tests/optim tests/perexample tests/scaling tests/simulated
part "compiled engine" 80 "$PYTHON" benchmarks/perexample.py --device "$device" --rounds 3 --compile \
    --out "$out/perexample-compiled-$device.json" --workloads "$([ "$device" = cuda ] && echo "decoder 160M B512 T128" || echo "MLP B64")"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'gpu.sh: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "gpu.sh: done in $SECONDS s; git add results/reference" >&2
