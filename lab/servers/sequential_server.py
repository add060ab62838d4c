"""One client at a time: the simplest server there is.

While it talks with one client, it does not listen to any other: they wait in the kernel's queue, connected
and unanswered. A client that says nothing makes everybody wait for as long as it likes.
"""

import socket

from lab.servers.library import Library, talk
from lab.servers.start import run


def serve(listener: socket.socket, library: Library) -> None:
    while True:
        conn, _ = listener.accept()
        talk(conn, library)


if __name__ == "__main__":
    run(serve)
