#!/usr/bin/env bash
# Starts train.py of this folder with all arguments; relative paths in them are taken from here.
# The interpreter: $PYTHON, else the virtual environment of the project, else python3.
set -euo pipefail

python=${PYTHON:-}
if [[ $python == */* && $python != /* ]]; then
    python=$PWD/$python
fi
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
if [[ -z $python ]]; then
    python=../../.venv/bin/python
    [[ -x $python ]] || python=python3
fi
exec "$python" train.py "$@"
