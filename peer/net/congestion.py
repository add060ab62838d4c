"""Which congestion control a connection uses: the system's, but not BBR on a short path.

BBR makes its window from the shortest round trip that it has seen. On a path of a building's length that is
next to nothing, until somebody's shaped uplink has filled its queue: then the window is four packets for ten
seconds, and what it tries beyond that is dropped. Ten peers behind shaped uplinks were done at 1.115 of the
bound with Reno where BBR took 1.13 to 1.18; and without BBR's pacing timers a pair on loopback is a tenth
faster. (docs/decisions/congestion-control.md)

On longer paths the system's choice stands: whoever set BBR there may have packets that get lost on the way,
and on those Reno would be many times slower. Linux only; elsewhere nothing happens.
"""

import socket
from struct import Struct
from typing import Final, Protocol

from peer.limits import SHORT_PATH_S

SHORT_PATH_CONTROL: Final = b"reno"
"""Every Linux has it and lets everybody use it; and on a short path it soon makes good for a lost packet."""

_CONGESTION: Final = getattr(socket, "TCP_CONGESTION", None)
_INFO: Final = getattr(socket, "TCP_INFO", None)
_NAME_BYTES: Final = 16
"""The kernel's `TCP_CA_NAME_MAX`."""

_MIN_RTT: Final = Struct("148x I")
"""`tcpi_min_rtt` of `struct tcp_info` (linux/tcp.h), microseconds; since Linux 4.6."""


class TcpOptions(Protocol):
    """As much of a socket as is needed here."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...
    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...


class CongestionControl:
    """Looks after one connected socket until its path is known to be short, or there is nothing to do."""

    __slots__ = ("_socket", "settled")

    def __init__(self, sock: TcpOptions) -> None:
        self._socket = sock
        self.settled = _CONGESTION is None or _INFO is None or not self._is_bbr()
        self.look()

    def look(self) -> None:
        """The round trip may have been seen shorter since. Cheap."""
        if self.settled:
            return
        try:
            if self._least_round_trip_s() < SHORT_PATH_S:
                assert _CONGESTION is not None
                self.settled = True
                self._socket.setsockopt(socket.IPPROTO_TCP, _CONGESTION, SHORT_PATH_CONTROL)
        except OSError:  # closed, not TCP, or forbidden
            self.settled = True

    def _is_bbr(self) -> bool:
        assert _CONGESTION is not None
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, _CONGESTION, _NAME_BYTES).startswith(b"bbr")
        except OSError:
            return False

    def _least_round_trip_s(self) -> float:
        """Seconds. Raises OSError, also where the kernel does not say."""
        assert _INFO is not None
        info = self._socket.getsockopt(socket.IPPROTO_TCP, _INFO, _MIN_RTT.size)
        if len(info) < _MIN_RTT.size:
            raise OSError("this kernel does not tell the shortest round trip")
        (microseconds,) = _MIN_RTT.unpack(info)
        return float(microseconds) / 1e6
