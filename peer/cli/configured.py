"""The configuration of a command: the file in the home, then the environment, then flags.

The file becomes click's `default_map`, so every option of every command is found, converted and refused in
one way, whatever it came from; and click knows of each value where it came from.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peer import config
from peer.errors import ManyhandsError, UsageError
from peer.home import check_version, home_path, read_file
from peer.store.trouble import translate

FILE_BYTES_MAX = 64 * 1024


def home_of(arguments: Sequence[str]) -> str | None:
    """What ``--home`` says on a command line that is not parsed yet: it decides on the other options."""
    found = None
    for number, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith("--home="):
            found = argument.partition("=")[2]
        elif argument == "--home" and number + 1 < len(arguments):
            found = arguments[number + 1]
    return found


def config_path(home: str | None) -> Path:
    """Where the configuration file is."""
    return home_path(home) / config.FILE


def read_config(home: str | None) -> dict[str, Any]:
    """The values of the file by key; none if there is no file. Raises UsageError, StorageError."""
    check_version(home_path(home))
    path = config_path(home)
    try:
        data = read_file(path, FILE_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise translate(error, str(path)) from error
    if len(data) > FILE_BYTES_MAX:
        raise UsageError(f"{path} is no configuration file: it is too large")
    try:
        text = data.decode("utf-8-sig")  # some editors begin with a byte order mark
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no configuration file: it is not text in UTF-8") from error
    return config.parse(text, str(path))


def default_map(arguments: Sequence[str], warn: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The file's values by parameter, for a command with these arguments. Raises as `read_config`.

    warn: of a command that needs nothing of the file. It is told what is wrong with it, and that is all: a
    daemon that runs can be seen and stopped whatever somebody has written there meanwhile."""
    home = home_of(arguments)
    try:
        return config.parameters(read_config(home))
    except ManyhandsError as error:
        if warn is None:
            raise
        check_version(home_path(home))  # a home of a newer program, or none at all, is no trouble of the file
        warn(f"{error}; this command goes on without it")
        return {}
