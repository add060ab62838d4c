"""`--version` of the three commands."""

from importlib import metadata

import click
import pytest
from click.testing import CliRunner

import lab.cli
import peer.cli
import tracker.cli

COMMANDS = {"peer": peer.cli.group, "tracker": tracker.cli.command, "lab": lab.cli.lab}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_the_installed_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda package: f"1.2.3 of {package}")
    assert _printed(COMMANDS[name]) == "manyhands 1.2.3 of manyhands\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_source_tree_that_is_not_installed_has_none_and_no_traceback(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    assert _printed(COMMANDS[name]) == "manyhands (not installed)\n"


def _printed(command: click.Command) -> str:
    done = CliRunner().invoke(command, ["--version"], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output
