#!/usr/bin/env bash
# Makes the environment where it is missing, then hands over to `python -m regrad`. See ./reproduce.sh --help.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

TEX_PACKAGES=(latexmk texlive-latex-recommended texlive-pictures lmodern texlive-science texlive-latex-extra poppler-utils)
TRITON=triton==3.7.1 # what torch's CUDA build of requirements.lock brings along

fail() { # exit code 3: the environment lacks something
    echo "regrad: $*" >&2
    exit 3
}

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer with the venv module found; on Debian: apt-get install python3-venv"
}

install_into() { # the lock's pins, then this checkout itself; quick when both are there already
    local python=$1 mark=$2 wanted
    wanted=$(sha256sum requirements.lock pyproject.toml | sha256sum | cut -c1-64)
    [ -f "$mark" ] && [ "$(cat "$mark")" = "$wanted" ] && return
    echo "regrad: installing the pinned packages (some minutes, once)" >&2
    "$python" -m pip install --quiet --disable-pip-version-check --requirement requirements.lock ||
        fail "pip could not install requirements.lock"
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --editable . ||
        fail "pip could not install this checkout"
    echo "$wanted" >"$mark"
}

ensure_environment() { # an active conda environment named regrad, else .venv
    if [ -n "${CONDA_PREFIX:-}" ] && [ "${CONDA_DEFAULT_ENV:-}" = regrad ]; then
        PYTHON=$CONDA_PREFIX/bin/python
        install_into "$PYTHON" "$CONDA_PREFIX/.regrad-lock"
        return
    fi
    PYTHON=$PWD/.venv/bin/python
    if ! "$PYTHON" -c '' 2>/dev/null; then
        "$(find_python)" -m venv --clear .venv || fail "could not make .venv; on Debian: apt-get install python3-venv"
    fi
    install_into "$PYTHON" .venv/.regrad-lock
}

tex_is_there() {
    command -v latexmk >/dev/null && command -v pdflatex >/dev/null
}

wants_tex() { # whether this call typesets a report
    local argument
    case "${1:-}" in check | cite | data | publish) return 1 ;; esac
    for argument in "$@"; do
        case $argument in --no-pdf | --offline | --list | --dry-run | --help | -h) return 1 ;; esac
    done
}

install_tex() { # only where it may be installed; otherwise the report says what is missing
    "$PYTHON" -m regrad "$@" --check-only || exit $? # a misspelt option must not cost an installation
    install_from_debian "LaTeX (about 190 MB, once)" "without the PDF" "${TEX_PACKAGES[@]}"
}

install_chromium() { # the tests of the site look at it in a browser, and are skipped where there is none
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
        install_from_debian "chromium (about 100 MB, once)" "without the browser's tests" chromium
}

install_triton() { # for the slow tests of the engine's GPU kernel, which need no GPU and are skipped without it
    [ "$(uname -sm)" = "Linux x86_64" ] || return 0
    "$PYTHON" -c 'import triton' 2>/dev/null && return
    echo "regrad: installing $TRITON (198 MB, once)" >&2
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps "$TRITON" ||
        echo "regrad: this could not be installed; going on without the tests of the GPU's kernel" >&2
}

install_from_debian() { # what, how it goes on otherwise, packages; nothing where this user may not install
    local what=$1 otherwise=$2 as_root=()
    shift 2
    command -v apt-get >/dev/null || return 0
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 0
        as_root=(sudo -n)
    fi
    echo "regrad: installing $what from Debian" >&2
    "${as_root[@]}" apt-get update -qq >/dev/null &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        echo "regrad: this could not be installed; going on $otherwise" >&2
}

open_lab() { # JupyterLab at its start page; REGRAD_LAB_ARGS are further arguments, such as a proxy's prefix
    local words arguments=(--notebook-dir=.) # the checkout's own settings come before those of the user
    [ "$(id -u)" != 0 ] || arguments+=(--allow-root) # as in any container
    [ -w "${HOME:-/}" ] || export HOME=$PWD/results/lab # a container's user may have no folder of its own
    read -ra words <<<"${REGRAD_LAB_ARGS:-}"
    export JUPYTER_CONFIG_PATH=$PWD/notebooks/.jupyter${JUPYTER_CONFIG_PATH:+:$JUPYTER_CONFIG_PATH}
    local page=results/lab/start.ipynb
    "$PYTHON" -m regrad.pipeline.start_page || page=notebooks/playground/start.ipynb # the lab opens all the same
    # As its first address and not as a file to open: the address that it prints leads there too.
    exec "$PYTHON" -m jupyter lab "${arguments[@]}" "--LabApp.default_url=/lab/tree/$page" "${words[@]}" "$@"
}

command=${1:-reproduce}
case $command in
test)
    shift
    ensure_environment
    export OMP_NUM_THREADS=1 # a worker a core
    workers=(--numprocesses auto --maxprocesses 8 --dist worksteal)
    if [ $# = 0 ]; then
        install_chromium
        set -- "${workers[@]}"
    fi
    case ${1:-} in
    --slow) shift && install_triton && set -- -m slow "${workers[@]}" "$@" ;;
    --reliability) shift && set -- -m reliability tests/reliability "${workers[@]}" "$@" ;;
    esac
    exec "$PYTHON" -m pytest "$@"
    ;;
lab)
    shift
    ensure_environment
    open_lab "$@"
    ;;
*)
    ensure_environment
    tex_is_there || ! wants_tex "$@" || install_tex "$@"
    exec "$PYTHON" -m regrad "$@"
    ;;
esac
