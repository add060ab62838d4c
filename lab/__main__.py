"""`python -m lab` is the `lab` command; its console script begins here as well."""

from peer.start import start


def main() -> None:
    """Entry point of the console script ``lab``."""
    start("lab.cli")


if __name__ == "__main__":
    main()
