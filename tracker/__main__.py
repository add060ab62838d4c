"""`python -m tracker` is the `tracker` command; its console script begins here as well."""

import sys


def main() -> None:
    """Entry point of the console script ``tracker``. Nothing is loaded yet: a Ctrl-C while click is being
    loaded is an interruption like any other, and no traceback."""
    try:
        from tracker.cli import main as run  # noqa: PLC0415 - see above
    except KeyboardInterrupt:
        sys.exit(130)  # ExitCode.INTERRUPTED, not loaded yet either
    run()


if __name__ == "__main__":
    main()
