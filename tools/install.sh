#!/usr/bin/env bash
# Create a virtual environment with the tested stack of requirements/constraints.txt and this package (editable).
#
#   tools/install.sh [VENV]        VENV defaults to .venv; PYTHON=... picks the interpreter
#
# What is already in VENV and works is kept, so an interrupted run can simply be started again. The steps that need
# explaining are the packages whose published metadata no longer fits current Python: see the comment of each.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
log=$venv/install.log
constraints=requirements/constraints.txt

say() { printf '[install] %s\n' "$*"; }
die() { printf '[install] error: %s\n' "$*" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
            2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "no usable Python among '${PYTHON:-python3 python3.12 python3.11 python3.10}':" \
        "3.10 to 3.12 with the venv module is needed; name one with PYTHON=/path/to/python."
}

# run MESSAGE COMMAND...: one line at the start, the last lines of the log when it fails, a sign of life every minute.
run() {
    local message=$1 minutes=0 pid
    shift
    say "$message"
    "$@" >>"$log" 2>&1 &
    pid=$!
    trap 'kill $pid 2>/dev/null' INT TERM
    while sleep 1 && kill -0 $pid 2>/dev/null; do
        minutes=$((minutes + 1))
        if ((minutes % 60 == 0)); then say "  ... $((minutes / 60)) min"; fi
    done
    trap - INT TERM
    if ! wait $pid; then
        tail -n 25 "$log" >&2
        die "failed: $message (all of it: $log)"
    fi
}

pip() { "$venv/bin/python" -m pip install --constraint "$constraints" "$@"; }
works() { "$venv/bin/python" -c "$1" >/dev/null 2>&1; }

if [[ ! -x $venv/bin/python ]]; then
    python=$(find_python)
    say "creating $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi

if ! works 'import torch, torchvision'; then
    run 'PyTorch and torchvision' pip torch torchvision
fi

# No build isolation below: these builds look at the installed torch and numpy, and need a setuptools that still has
# pkg_resources.
run 'build tools' pip setuptools wheel ninja psutil cython numpy opencv-python

# On a machine without a display opencv-python lacks libGL. Its headless twin fills the same folder, and pip still counts
# opencv-python, which MMEngine asks for, as installed.
if ! works 'import cv2'; then
    run 'opencv: no libGL on this machine, taking the headless build' pip --no-deps opencv-python-headless
fi

# mmcv is published as source only. MMCV_WITH_OPS compiles its C++ operators, and the CUDA ones where torch sees a GPU.
if works 'import mmcv.ops'; then
    say 'mmcv: found, with its operators'
else
    command -v "${CXX:-g++}" >/dev/null || command -v c++ >/dev/null ||
        die "mmcv is compiled from source and needs a C++ compiler; install g++ or set CXX."
    if works 'import torch; assert torch.cuda.is_available()' && ! works \
        'from torch.utils.cpp_extension import CUDA_HOME; import os; assert os.path.exists(CUDA_HOME + "/bin/nvcc")'; then
        die "torch sees a GPU but nvcc is missing, so mmcv's CUDA operators cannot be compiled. Either install nvcc" \
            "(the CUDA toolkit) and set CUDA_HOME, or put a prebuilt wheel into $venv ('mim install mmcv==2.1.0')," \
            "or stay on the CPU: 'CUDA_VISIBLE_DEVICES= make env'."
    fi
    build=(pip --no-build-isolation --no-binary mmcv mmcv)
    export MMCV_WITH_OPS=1
    run 'mmcv: compiling its operators (about 18 minutes on two cores, once: pip keeps the wheel)' "${build[@]}"
    # A kept wheel may stem from an environment with another torch.
    works 'import mmcv.ops' || run 'mmcv: the kept wheel does not fit this torch, compiling it again' \
        "${build[@]}" --force-reinstall --no-deps --no-cache-dir
fi

# xtcocotools' wheels are built for numpy 1; mmpose asks for chumpy, which no longer installs and which nothing uses.
if ! works 'import xtcocotools.mask'; then
    run 'xtcocotools, from source against the installed numpy' pip --no-build-isolation --no-binary xtcocotools xtcocotools
fi
run 'mmpose' pip --no-deps mmpose
run 'micronet-mm and the rest of the stack' pip --no-build-isolation --editable '.[all]'

"$venv/bin/python" -c 'import mmcv.ops, mmdet, mmpose, mmpretrain, micronet_mm' 2>>"$log" ||
    die "the environment is installed but does not import; see the end of $log"
say "ready: $venv"
