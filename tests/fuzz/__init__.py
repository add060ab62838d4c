"""Hostile bytes against everything that parses them: `python -m tests.fuzz --frames 1000000`."""
