"""The configuration file: which keys there are, and what they may say. Pure.

Each key is the option of the same name: a flag goes before the environment (MANYHANDS_ and the name
in capitals), the environment before the file. What the file does not say is as without one. A key that nobody
knows is a mistake, never ignored: a limit with a slip in its name would be no limit.
"""

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from peer.errors import UsageError
from peer.ids import PORT_MAX, Address
from peer.limits import CONNECTIONS_MIN
from peer.units import parse_rate

FILE: Final = "config.toml"
"""In the home."""

PREFIX: Final = "MANYHANDS_"

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
PROGRESS_KINDS: Final = ("auto", "bars", "lines", "json", "none")


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. parameter: the name of the commands' parameter. meaning: for people. check: raises
    ValueError with the end of a sentence. reload: whether a running daemon takes up a new value on SIGHUP."""

    name: str
    parameter: str
    meaning: str
    check: Callable[[Any], None]
    reload: bool = False
    environment: bool = True

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.upper()


def _text(value: Any) -> str:
    if type(value) is not str or not value or "\0" in value:
        raise ValueError("must be a text in quotes")
    return value


def _host(value: Any) -> None:
    _text(value)


def _port(value: Any) -> None:
    if type(value) is not int or not 0 <= value <= PORT_MAX:
        raise ValueError(f"must be a number from 0 to {PORT_MAX}")


def _rate(value: Any) -> None:
    if type(value) is not str:
        raise ValueError('must be a rate in quotes: "4mbit", "500kbit" or "1MB"')
    parse_rate(value)


def _switch(value: Any) -> None:
    if type(value) is not bool:
        raise ValueError("must be true or false")


def _count(value: Any) -> None:
    if type(value) is not int or value < CONNECTIONS_MIN:
        raise ValueError(f"must be a number of at least {CONNECTIONS_MIN}")


def _address(value: Any) -> None:
    Address.parse(_text(value), 1)


def _addresses(value: Any) -> None:
    for item in value if type(value) is list else [value]:
        if type(item) is not str:
            raise ValueError('must be an address in quotes, or a list of them: ["host:7700"]')
        Address.parse(item, 1)


def _one_of(choices: tuple[str, ...]) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")

    return check


KEYS: Final = (
    Key("host", "host", "Listen on this address only.", _host),
    Key("port", "port", "Listen on this port.", _port),
    Key(
        "announce",
        "announce",
        "The address for links, where others reach this machine by it.",
        _address,
        True,
    ),
    Key("tracker", "trackers", "Announce to these trackers.", _addresses, True),
    Key("up", "up", "Send at most this.", _rate, True),
    Key("down", "down", "Receive at most this.", _rate, True),
    Key("connections", "connections", "At most so many connected peers.", _count),
    Key("lan", "lan", "Find peers on the local network.", _switch),
    Key("plain", "plain", "No encryption.", _switch),
    Key(
        "swarm_key", "swarm_secret", "File with the secret of a private swarm.", _host, environment=False
    ),  # the variable of that name is the secret itself
    Key("progress", "progress", "How to show progress.", _one_of(PROGRESS_KINDS)),
    Key("log_level", "log_level", "What the daemon logs.", _one_of(LOG_LEVELS), True),
    Key("log_json", "log_json", "Log as JSON lines.", _switch),
)

BY_NAME: Final = {key.name: key for key in KEYS}


def parse(text: str, shown: str) -> dict[str, Any]:
    """The values of a configuration file by key. shown: how messages call the file. Raises UsageError."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also 5,000 digits, and lists in lists in lists
        raise UsageError(f"{shown}: {error}") from error
    for name, value in values.items():
        key = BY_NAME.get(name)
        if key is None:
            raise UsageError(f"{shown}: there is no key {name[:60]!r}{nearest(name, BY_NAME)}")
        try:
            key.check(value)
        except ValueError as error:
            raise UsageError(f"{shown}: {name} = {_as_toml(value)}: {error}") from error
    return values


def parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same by the names of the commands' parameters."""
    made = {BY_NAME[name].parameter: value for name, value in values.items()}
    if isinstance(made.get("trackers"), str):
        made["trackers"] = [made["trackers"]]
    return made


def nearest(name: str, known: Mapping[str, object]) -> str:
    """How to go on after an unknown key: the nearest one, or all."""
    close = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1)
    if not close:
        return f"; the keys are {', '.join(known)}"
    return f": did you mean {close[0]}?"


def _as_toml(value: Any) -> str:
    shown = str(value).lower() if type(value) is bool else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
