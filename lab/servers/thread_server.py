"""A thread for each client: as simple as the sequential server, and nobody waits for another.

Threads share the memory: a counter is everybody's, and everybody can spoil it. Each thread waits in `read`
and costs its stack for as long as its client is connected, whether it says anything or not.
"""

import socket
from threading import Thread

from lab.servers.library import Library, complain, talk
from lab.servers.start import run


def serve(listener: socket.socket, library: Library) -> None:
    while True:
        conn, _ = listener.accept()
        try:
            Thread(target=talk, args=(conn, library), daemon=True).start()
        except RuntimeError as error:  # no more threads: this client is turned away
            complain(error)
            conn.close()


if __name__ == "__main__":
    run(serve)
