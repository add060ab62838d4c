"""Whole nodes in virtual time: the scenario language, the runs, their reports."""
