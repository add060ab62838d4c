"""When a connection leaves BBR."""

import socket
import sys

import pytest

from peer.limits import SHORT_PATH_S
from peer.net.congestion import CongestionControl

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_CONGESTION"), reason="no such option here")


class FakeSocket:
    """What the kernel would say; ``info_bytes``: how much of `struct tcp_info` it knows."""

    def __init__(
        self, control: bytes, round_trip_s: float, info_bytes: int = 232, forbids: bool = False
    ) -> None:
        self.control = control
        self.round_trip_s = round_trip_s
        self.closed = False
        self._info_bytes = info_bytes
        self._forbids = forbids

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        assert level == socket.IPPROTO_TCP
        if self.closed:
            raise OSError("closed")
        if option == socket.TCP_CONGESTION:
            return self.control.ljust(16, b"\0")[:size]
        assert option == socket.TCP_INFO
        micros = round(self.round_trip_s * 1e6).to_bytes(4, sys.byteorder)
        return (bytes(148) + micros + bytes(80))[: min(size, self._info_bytes)]

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_CONGESTION)
        if self._forbids:
            raise PermissionError("not allowed")
        self.control = value


@pytest.mark.parametrize("control", [b"bbr", b"bbr3"])
def test_a_short_path_leaves_bbr(control: bytes) -> None:
    sock = FakeSocket(control, 0.0001)
    assert CongestionControl(sock).settled
    assert sock.control == b"reno"


@pytest.mark.parametrize("control", [b"cubic", b"reno", b"dctcp"])
def test_another_choice_of_the_system_stands(control: bytes) -> None:
    sock = FakeSocket(control, 0.0001)
    assert CongestionControl(sock).settled
    assert sock.control == control


def test_a_long_path_keeps_bbr_and_is_looked_at_again() -> None:
    """It may look long because a queue was full when the connection was made."""
    sock = FakeSocket(b"bbr", 2 * SHORT_PATH_S)
    control = CongestionControl(sock)
    control.look()
    assert (sock.control, control.settled) == (b"bbr", False)
    sock.round_trip_s = SHORT_PATH_S / 2
    control.look()
    assert (sock.control, control.settled) == (b"reno", True)


def test_who_may_not_choose_keeps_what_there_is() -> None:
    sock = FakeSocket(b"bbr", 0.0001, forbids=True)
    assert CongestionControl(sock).settled
    assert sock.control == b"bbr"


def test_a_kernel_that_does_not_tell_the_round_trip_is_left_alone() -> None:
    sock = FakeSocket(b"bbr", 0.0001, info_bytes=104)
    assert CongestionControl(sock).settled
    assert sock.control == b"bbr"


def test_a_socket_that_was_closed_meanwhile_is_no_trouble() -> None:
    sock = FakeSocket(b"bbr", 1.0)
    control = CongestionControl(sock)
    sock.closed = True
    control.look()
    assert control.settled
