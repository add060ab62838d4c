"""What the kernel knows of our sockets, from /proc; empty where there is none (macOS)."""

import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# include/net/tcp_states.h
TCP_STATES: Final = (
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
)


@dataclass(frozen=True, slots=True)
class Connection:
    """One end as the kernel keeps it."""

    local_port: int
    remote_port: int
    state: str


def connections(port: int) -> list[Connection]:
    """Every TCP socket on loopback that has this port on either side; the server's own end first."""
    found = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                local, remote = (int(end.rpartition(":")[2], 16) for end in fields[1:3])
                if port in (local, remote):
                    found.append(Connection(local, remote, TCP_STATES[int(fields[3], 16)]))
    return sorted(found, key=lambda c: (c.local_port != port, c.remote_port))


def states(port: int) -> str:
    """``server LISTEN, server ESTABLISHED, client ESTABLISHED`` for the sockets of this port."""
    return ", ".join(
        f"{'server' if end.local_port == port else 'client'} {end.state}" for end in connections(port)
    )


def counter(name: str) -> int | None:
    """A counter of /proc/net/netstat such as ListenOverflows; None where it is not kept."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/net/netstat").read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            if name in names.split():
                return int(values.split()[names.split().index(name)])
    return None


def setting(name: str) -> str | None:
    """A kernel setting such as net/core/somaxconn; None where there is none."""
    with suppress(OSError):
        return " ".join(Path("/proc/sys", name).read_text().split())
    return None


def slab_bytes() -> int | None:
    """Memory that the kernel itself uses for its objects, sockets among them."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("Slab:"):
                return int(line.split()[1]) * 1024
    return None


def narrow_ports(sock: socket.socket, first: int, last: int) -> bool:
    """Let the kernel choose this socket's own port from a small range only; Linux 6.3 or later."""
    ip_local_port_range = 51  # include/uapi/linux/in.h
    try:
        sock.setsockopt(socket.IPPROTO_IP, ip_local_port_range, struct.pack("=I", last << 16 | first))
    except OSError:
        return False
    return os.uname().sysname == "Linux"


def address(name: object) -> str:
    """``127.0.0.1:7701``, ``[::1]:7701`` or a path."""
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return text.replace("\0", "@") or "(no name)"
