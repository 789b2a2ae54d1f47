#!/usr/bin/env bash
# Runs every test but the slow ones. Those that start a whole job (marker `job`), whose processes take most of two cores,
# run one after the other. All others, and jobs that drive no arm (marker `armless`), run side by side with a lower
# priority, in what these leave of the cores: one process for each core, and one more, since one of them ends with the
# tests that wait for robots and messages (`tests/conftest.py`). Work is stolen test by test, or one core would wait for
# the last file. They are shown when they are over, and so is `make lint`, which runs beside them, too.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

CORES=$(nproc) # asked before OMP_NUM_THREADS is set, which it goes by
PYTEST=(.venv/bin/python -m pytest -q)
DEFAULT='not slow and not hardware'
# Tests compile much and compute little, so XLA shall compile quickly: without its fusion emitters in a quarter of the time.
XLA_FLAGS='--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true'
export XLA_FLAGS="$XLA_FLAGS --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
export OMP_NUM_THREADS=1

others=$(mktemp) linted=$(mktemp)
trap 'rm -f "$others" "$linted"' EXIT
nice -n 10 make --no-print-directory lint >"$linted" 2>&1 &
lint=$!
nice -n 10 "${PYTEST[@]}" -n "$((CORES + 1))" --dist worksteal -m "(not job or armless) and $DEFAULT" >"$others" 2>&1 &
beside=$!
"${PYTEST[@]}" tests/processes -m "job and not armless and $DEFAULT"
status=$?
wait "$beside" || status=$?
cat "$others"
wait "$lint" || status=$?
cat "$linted"
exit $status
