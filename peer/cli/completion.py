"""`peer completion`: tab completion for the shell."""

import click
from click.shell_completion import get_completion_class

from peer.cli.options import home_option


@click.command("completion", short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@home_option
def command(shell: str, home: str | None) -> None:
    """Print a script that completes commands and options of `peer` on the tab key.

    \b
    bash:  peer completion bash > ~/.local/share/bash-completion/completions/peer
    zsh:   peer completion zsh > "${fpath[1]}/_peer"
    fish:  peer completion fish > ~/.config/fish/completions/peer.fish
    """
    from peer.cli import group

    made = get_completion_class(shell)
    assert made is not None, "click knows the shells that we offer"
    click.echo(made(group, {}, "peer", "_PEER_COMPLETE").source())
