"""`python -m tracker` is the `tracker` command; its console script begins here as well."""

from peer.start import start


def main() -> None:
    """Entry point of the console script ``tracker``."""
    start("tracker.cli")


if __name__ == "__main__":
    main()
