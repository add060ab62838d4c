"""`python -m peer` is the `peer` command; its console script begins here as well."""

from peer.start import start


def main() -> None:
    """Entry point of the console script ``peer``."""
    start("peer.cli")


if __name__ == "__main__":
    main()
