"""Telling systemd how it stands: sd_notify(3), one small datagram each. Without systemd nothing happens."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"


class ServiceManager:
    """Speaks to whoever started us, if they listen. Never blocks, never raises."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        found = os.environ if environment is None else environment
        self._address = found.get(SOCKET_VARIABLE, "")
        usec = found.get(WATCHDOG_VARIABLE, "")
        self.watchdog_s = int(usec) / 1e6 if usec.isdigit() and int(usec) else None
        """How often at least it wants to hear that we live; None for never."""

    def ready(self, status: str) -> None:
        """Started, or reloaded."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Reading the configuration again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """About to end."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Still there."""
        self._tell("WATCHDOG=1")

    def _tell(self, *lines: str) -> None:
        if not self._address.startswith(("/", "@")):
            return
        # An address that begins with @ is in Linux's abstract namespace, where a zero byte comes first.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), address)
