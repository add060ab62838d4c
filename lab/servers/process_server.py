"""A process for each client: the classic way of Unix.

`fork` makes a copy of the server that has everything the server has, the client's descriptor included, and
shares nothing from then on. A crash takes one client down; a counter that the child changes stays the
child's.
"""

import os
import signal
import socket
from contextlib import suppress

from lab.servers.library import Library, complain, talk
from lab.servers.start import run


def serve(listener: socket.socket, library: Library) -> None:
    children: set[int] = set()
    try:
        while True:
            conn, _ = listener.accept()
            with (
                conn
            ):  # the child has a descriptor of its own; ours must be closed, or the client never sees an end
                start_child(listener, conn, library, children)
            bury(children)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def start_child(listener: socket.socket, conn: socket.socket, library: Library, children: set[int]) -> None:
    try:
        child = os.fork()
    except OSError as error:  # no more processes: this client is turned away
        complain(error)
        return
    if child:
        children.add(child)
        return
    try:
        listener.close()
        talk(conn, library)
    finally:
        os._exit(0)  # leave without the parent's clean-up


def bury(children: set[int]) -> None:
    """A child that has ended stays a zombie until its parent asks how it went."""
    with suppress(ChildProcessError):
        while (child := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            children.discard(child)


if __name__ == "__main__":
    run(serve)
