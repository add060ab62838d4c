"""Long tests of real processes: killed, flooded, lied to by their own disk. Each scenario is one file.

usage: python -m tests.soak [--kills N] [--hostile N] [--memory GIB] [--mutations N] [--symlinks SECONDS]
                            [--full]

Each prints a line for what it did and ends with one that counts; nothing named runs them all, at length.
"""
