"""`--version`, of each of the three commands."""

from typing import Any

import click


def _show(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib import metadata  # with the module it would cost every command 20 ms

    try:
        number = metadata.version("manyhands")
    except metadata.PackageNotFoundError:
        number = "(not installed)"  # run from a source tree: click's own option ends in a traceback here
    click.echo(f"manyhands {number}")
    ctx.exit()


def version_option(command: Any) -> Any:
    """Decorate a click command."""
    return click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show,
        help="Show the version and exit.",
    )(command)
