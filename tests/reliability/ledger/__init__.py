"""The delivery ledger: random runs in which every message is numbered and accounted for.

``python -m tests.reliability.ledger --seed N --runs M`` makes runs N to N + M - 1; a run that
fails is made again by ``--seed`` with its number and ``--runs 1``.
"""
