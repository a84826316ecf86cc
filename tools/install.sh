#!/usr/bin/env bash
# Create a virtual environment with the tested stack of requirements/constraints.txt and this package (editable).
#
#   tools/install.sh [VENV]        VENV defaults to .venv; PYTHON=... picks the interpreter
#   MMCV=compiled ...              compiles mmcv's operators and xtcocotools; they need no fallbacks then
#   MMCV=onedl ...                 takes the maintained line of MMLab
#
# By default nothing is compiled: every package is a wheel. An interrupted run can simply be started again.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
log=$venv/install.log
mmcv=${MMCV:-lite}
constraints=requirements/constraints-$mmcv.txt

say() { printf '[install] %s\n' "$*"; }
die() { printf '[install] error: %s\n' "$*" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python3.14}; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' \
            2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    die "no usable Python among '${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python3.14}':" \
        "3.10 to 3.14 with the venv module is needed; name one with PYTHON=/path/to/python."
}

# run MESSAGE COMMAND...: one line at the start, the last lines of the log when it fails, a sign of life every minute.
run() {
    local message=$1 seconds=0 pid
    shift
    say "$message"
    "$@" >>"$log" 2>&1 &
    pid=$!
    trap 'kill $pid 2>/dev/null' INT TERM
    while sleep 1 && kill -0 $pid 2>/dev/null; do
        seconds=$((seconds + 1))
        if ((seconds % 60 == 0)); then say "  ... $((seconds / 60)) min"; fi
    done
    trap - INT TERM
    if ! wait $pid; then
        tail -n 25 "$log" >&2
        die "failed: $message (all of it: $log)"
    fi
}

pip() { "$venv/bin/python" -m pip install --constraint "$constraints" "$@"; }
wheels() { pip --only-binary :all: "$@"; }
works() { "$venv/bin/python" -c "$1" >/dev/null 2>&1; }

[[ -f $constraints ]] ||
    die "MMCV=$mmcv is unknown; lite (wheels only, the default), compiled (mmcv's own operators) or onedl (the maintained" \
        "line of MMLab) are there."

if [[ ! -x $venv/bin/python ]]; then
    python=$(find_python)
    say "creating $venv with $("$python" --version)"
    "$python" -m venv "$venv"
    echo "$mmcv" >"$venv/.mmcv"
fi
there=$(cat "$venv/.mmcv" 2>/dev/null || echo "$mmcv")
[[ $there == "$mmcv" ]] ||
    die "$venv was made with MMCV=$there, and the packages of two lines share their folders; give MMCV=$mmcv an" \
        "environment of its own: VENV=.venv-$mmcv."

if [[ $mmcv == lite ]]; then
    run 'PyTorch, MMLab and the rest of the stack, wheels only' wheels --editable '.[all,lite]'
elif [[ $mmcv == onedl ]]; then
    run 'PyTorch, the maintained line of MMLab and the rest of the stack' pip --editable '.[onedl,pose,export,tests]'
else
    # The sources of mmcv 2.1 do not compile with later releases of PyTorch; these builds look at the installed torch and
    # numpy, and need a setuptools that still has pkg_resources.
    command -v "${CXX:-g++}" >/dev/null || command -v c++ >/dev/null ||
        die "MMCV=compiled needs a C++ compiler; install g++ or set CXX, or leave MMCV out."
    run 'PyTorch and build tools' pip torch torchvision setuptools wheel ninja psutil cython numpy opencv-python
    if works 'import torch; assert torch.cuda.is_available()' && ! works \
        'from torch.utils.cpp_extension import CUDA_HOME; import os; assert os.path.exists(CUDA_HOME + "/bin/nvcc")'; then
        die "torch sees a GPU but nvcc is missing, so mmcv's CUDA operators cannot be compiled. Install nvcc (the CUDA" \
            "toolkit) and set CUDA_HOME, or leave MMCV out, or stay on the CPU: 'CUDA_VISIBLE_DEVICES= make env'."
    fi
    if ! works 'import mmcv._ext'; then
        build=(pip --no-build-isolation --no-binary mmcv mmcv)
        export MMCV_WITH_OPS=1
        run 'mmcv: compiling its operators (about 18 minutes on two cores, once: pip keeps the wheel)' "${build[@]}"
        # A kept wheel may stem from an environment with another torch.
        works 'import mmcv._ext' || run 'mmcv: the kept wheel does not fit this torch, compiling it again' \
            "${build[@]}" --force-reinstall --no-deps --no-cache-dir
    fi
    works 'import xtcocotools.mask' || run 'xtcocotools, from source against the installed numpy' \
        pip --no-build-isolation --no-binary xtcocotools xtcocotools
    run 'micronet-mm and the rest of the stack' pip --editable '.[all]'
fi
# Its metadata asks for chumpy, which no longer installs, and for xtcocotools; neither is needed.
run 'mmpose' wheels --no-deps mmpose

# On a machine without a display opencv-python lacks libGL. Its headless twin fills the same folder, and pip still counts
# opencv-python, which MMEngine asks for, as installed.
if ! works 'import cv2'; then
    run 'opencv: no libGL on this machine, taking the headless build' wheels --no-deps opencv-python-headless
fi

"$venv/bin/python" -c 'import micronet_mm, mmcv.ops, mmdet, mmpose, mmpretrain' 2>>"$log" ||
    die "the environment is installed but does not import; see the end of $log"
say "ready: $venv"
