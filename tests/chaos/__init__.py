"""Whole swarms under faults that are drawn from a seed: see docs/simulation.md.

python -m tests.chaos --seed 7              what happens in seed 7
python -m tests.chaos --seeds 0:200         many of them; each failing one prints the line that replays it
python -m tests.chaos --seed 7 --shrink     the smallest part of its plan that still fails
"""
