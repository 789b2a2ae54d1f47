"""The tables of docs/RESULTS.md about learning: `plan` what is run, `runs` runs it, `lines` keeps it, `statistics` and
`drawing` say what it came to. ``python -m benchmarks.experiments.tables`` is the command."""
