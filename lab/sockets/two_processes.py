"""Station 1: an address in one process means nothing in the other."""

import ctypes
import os
import socket
from collections.abc import Iterator
from typing import Final

from lab.sockets.actor import Actor
from lab.sockets.kernel import address
from lab.sockets.tour import Log, Station, said

DESCRIPTOR: Final = 77
"""Any number that neither process uses yet."""


def run(log: Log) -> str:
    number = ctypes.c_int(1)
    place = ctypes.addressof(number)
    listener = socket.create_server(("127.0.0.1", 0))
    where = listener.getsockname()

    def child() -> Iterator[tuple[str, str]]:
        mine = ctypes.c_int.from_address(place)
        yield "fork()", f"I am process {os.getpid()}, a copy of process {os.getppid()}"
        yield f"read {place:#x}", f"finds {mine.value}, as in the original"
        mine.value = 2
        yield f"write 2 to {place:#x}", f"finds {mine.value} there now"
        yield f"fstat(descriptor {DESCRIPTOR})", _descriptor()
        conn, _ = listener.accept()
        question = conn.recv(100).decode().strip()
        conn.sendall(f"{ctypes.c_int.from_address(int(question.split()[1], 16)).value}\n".encode())
        yield "accept(), recv(), send()", f"is asked {question!r} and answers"

    log.step("parent", "write 1 into memory", f"process {os.getpid()} has it at address {place:#x}")
    with listener, Actor(log, "child", child) as actor:
        for _ in range(3):
            actor.do()
        log.step("parent", f"read {place:#x}", f"still finds {number.value}: same address, other memory")
        opened = os.open(os.devnull, os.O_RDONLY)
        os.dup2(opened, DESCRIPTOR)
        log.step(
            "parent", "open(/dev/null), dup2()", f"descriptor {DESCRIPTOR} is open in process {os.getpid()}"
        )
        log.fact("descriptor in the child", actor.do())
        os.close(DESCRIPTOR)
        os.close(opened)
        actor.go()
        with socket.create_connection(where, 5) as conn:
            conn.sendall(f"value {place:#x}\n".encode())
            answer = conn.recv(100).decode().strip()
        actor.heard()
    log.step("parent", f"connect({address(where)}), send, recv", f"is told {answer}")
    log.fact("address in both", f"{place:#x}")
    log.fact("value in the parent", number.value)
    log.fact("value in the child", int(answer))
    log.fact("met at", address(where))
    return (
        f"The same address {place:#x} holds {number.value} in one process and {answer} in the other:"
        " memory and descriptors are private. To talk they needed a place to meet that both understand,"
        f" host and port ({address(where)}), and a grammar: one line asks, one line answers."
    )


def _descriptor() -> str:
    try:
        os.fstat(DESCRIPTOR)
    except OSError as error:
        return f"{said(error)}, no such thing here"
    return "is open here as well, but as something else"


STATION = Station(
    1,
    "Two processes are two worlds",
    "Two programs run on one machine. Can one of them simply tell the other where a value lies?",
    run,
)
