"""Measures compactor next to its floors and peers, turn about, in the same run.

- `python -m benchmarks` prints one table of every target; `--json` and `--plot` keep it.
- `pytest benchmarks/micro` times the steps of one message.
- `python -m benchmarks.regression check` fails when a step takes more instructions than before.

All of it from the root of the repository, with the extras `bench` and `test` installed; wrk and
valgrind are programs of the system.
"""
