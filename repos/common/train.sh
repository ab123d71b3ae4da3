# Starts train.py beside the train.sh that sources this, with all arguments; relative paths in them
# are taken from that folder. The interpreter: $PYTHON, else the project's own, else python3.
set -euo pipefail

python=${PYTHON:-}
if [[ $python == */* && $python != /* ]]; then
    python=$PWD/$python
fi
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[1]}")"
if [[ -z $python ]]; then
    python=../../.venv/bin/python
    [[ -x $python ]] || python=python3
fi

# An idle thread of the OpenMP runtime spins by default. Where two trainings share the cores, it
# spins away the time of the thread that it waits for, and small networks slow down several times.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
exec "$python" train.py "$@"
