#!/bin/sh
# Install this checkout into an environment of its own:
#
#   containers/install.sh PREFIX cpu|cuda [EXTRAS [OPTION]...]
#
#   PREFIX    folder of the environment; made if it does not exist
#   cpu|cuda  with cpu, PyTorch's CPU build if pip finds one; with cuda, what pip installs by default
#   EXTRAS    optional packages, e.g. view,export (setup.cfg lists them)
#   OPTION    more options for the call of pip that installs PyTorch, e.g. --index-url URL
#
# Variables: PYTHON creates the environment (python3); TORCH is what pip installs as PyTorch; if EDITABLE is not empty,
# the environment uses the sources of the checkout instead of a copy.
#
# `make` and both recipes for containers call this script.
set -eu

usage="usage: containers/install.sh PREFIX cpu|cuda [EXTRAS [OPTION]...]"
prefix=${1:?"$usage"}
build=${2:?"$usage"}
extras=${3:-}
shift 2
[ $# -eq 0 ] || shift
case $build in
  cpu | cuda) ;;
  *) echo "$usage; not $build" >&2; exit 2 ;;
esac
case $prefix in
  /*) ;;
  *) prefix=$PWD/$prefix ;;
esac
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
torch=${TORCH:-torch==2.13.0}
# $python may hold options of an interpreter, so it is several words.
$python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
test -x "$prefix/bin/python" || $python -m venv "$prefix"
pip() { "$prefix/bin/python" -m pip install --quiet "$@"; }

pip "setuptools>=77" wheel
if [ "$build" = cpu ]; then
  pip "$@" "$torch+cpu" 2>/dev/null || pip "$@" "$torch"
else
  pip "$@" "$torch"
fi
# sam2 is a source distribution that needs torch to build. Its CUDA extension is not used.
SAM2_BUILD_CUDA=0 "$prefix/bin/python" -m pip install --quiet --no-deps --no-build-isolation sam2==1.1.0
pip ${EDITABLE:+-e} ".${extras:+[$extras]}"
echo "installed (pip may say that sam2 misses torchvision; the image encoder does not use it)"
