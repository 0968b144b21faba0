#!/bin/sh
# The whole thread on a small made sample: in .demo, from scratch each time. `make demo` runs it.
set -eu
cd "$(dirname "$0")/.."
rm -rf .demo
mkdir .demo
cd .demo
# The demo records in a store of its own, wherever other work is recorded.
unset MLFLOW_TRACKING_URI MLFLOW_EXPERIMENT_NAME
# Batches this small gain little from a second thread, and lose much to it on a busy machine.
export LORAREC_TRAIN__THREADS="${LORAREC_TRAIN__THREADS:-1}"

lorarec() {
    printf '\n$ lorarec %s\n' "$*"
    ../.venv/bin/lorarec "$@"
}

lorarec data synth logs
lorarec pretrain --data logs
lorarec adapt --domain books --rank 8
lorarec evaluate --domain books
lorarec recommend --domain books --user u00000

printf '\nEvery run is in .demo/mlruns. To look: cd .demo && ../.venv/bin/lorarec ui\n'
