"""docs/experiments.md: every command parses, and those in virtual time or on paper are run, small."""

import shlex
from pathlib import Path

import click
import pytest

from lab.cli import COMMANDS, lab, run
from tests.documents import DOCS, blocks
from tests.sketches import sketched

COMMAND_LINES = [
    shlex.split(line)
    for block in blocks(DOCS / "experiments.md")
    for line in block.body.splitlines()
    if line.strip()
]
IDS = [" ".join(words) for words in COMMAND_LINES]

CHEAP = {"bounds": (), "simulate": ("--size", "128KiB", "--quick")}
"""Run, and with what options, so that each takes no second."""


def test_there_are_ten() -> None:
    headings = [block.heading for block in blocks(DOCS / "experiments.md")]
    assert [int(heading.partition(".")[0]) for heading in headings] == list(range(1, 11))


@pytest.mark.parametrize("words", COMMAND_LINES, ids=IDS)
def test_every_command_parses(words: list[str]) -> None:
    program, name, *arguments = words
    assert program == "lab"
    assert name in COMMANDS
    with click.Context(lab, **lab.context_settings) as context:
        command = lab.get_command(context, name)
        assert command is not None
        with command.make_context(name, arguments, parent=context):
            pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [words for words in COMMAND_LINES if words[1] in CHEAP],
    ids=[" ".join(words) for words in COMMAND_LINES if words[1] in CHEAP],
)
def test_the_cheap_ones_run(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with sketched():
        assert run([*words[1:], *CHEAP[words[1]]]) == 0
    if "--out" in words:
        assert (tmp_path / words[words.index("--out") + 1] / "report.html").is_file()
