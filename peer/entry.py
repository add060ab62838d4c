"""From a click command to the exit status of a program: one way for all of them.

Whatever takes time is imported after `enter` was called: a Ctrl-C that comes meanwhile is an interruption
like any other. Click alone, standalone, would make "Aborted!" and 1 of it.
"""

import sys
from typing import NoReturn

import click

_PLAINLY = {
    " is not a valid integer range": " is not a whole number",
    " is not a valid float range": " is not a number",
}
"""What click says of an argument that is no number where only some numbers may stand."""


def enter(command: click.Command, name: str) -> NoReturn:
    """Run the command that the program of this name is, with the arguments of the process, and exit."""
    from peer.errors import ExitCode, ManyhandsError

    try:
        from peer import streams

        streams.settle()
        code = command.main(prog_name=name, standalone_mode=False)
    except click.ClickException as error:
        click.echo(trouble_line(error, name), err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):  # click's own name for the same
        code = ExitCode.INTERRUPTED
    except ManyhandsError as error:  # a help text that nobody takes
        click.echo(f"{name}: {error}", err=True)
        code = error.exit_code
    sys.exit(code)


def trouble_line(error: click.ClickException, name: str) -> str:
    """What click would say in three lines, in one: the command, what is wrong with it, where help is.

    name: of the program, where the mistake is in none of its commands."""
    from peer.paths import printable

    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # the help itself
        return error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else name
    hint = f"; see {path} --help" if isinstance(error, click.UsageError) else ""
    text = printable(" ".join(error.format_message().split())).rstrip(".")
    for jargon, words in _PLAINLY.items():
        text = text.removesuffix(jargon) + words if text.endswith(jargon) else text
    return f"{path}: {text}{hint}"
