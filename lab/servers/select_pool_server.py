"""One thread for the clients, a pool of threads for the work: a heavy request stalls nobody.

The price: an answer comes from another thread, so the loop must be woken for it; a conversation can end while
its request is being worked on; and the handlers share memory again, as in the thread server.
"""

import socket
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from selectors import EVENT_READ

from lab.servers.library import HandlerError, Library
from lab.servers.select_server import Conversation, SelectServer
from lab.servers.start import run

WORKERS = 8


class SelectPoolServer(SelectServer):
    def __init__(self, listener: socket.socket, library: Library) -> None:
        super().__init__(listener, library)
        self.pool = ThreadPoolExecutor(WORKERS)
        self.done: deque[tuple[Conversation, Future[list[bytes]]]] = deque()
        self.bell, self.rope = socket.socketpair()  # a worker pulls the rope, the loop hears the bell
        self.bell.setblocking(False)
        self.selector.register(self.bell, EVENT_READ, self.collect)

    def handle(self, talk: Conversation, request: bytes) -> bool:
        self.wait_for(talk, 0)  # nothing more from this client until its answer is there
        future = self.pool.submit(self.library.answer, request)
        future.add_done_callback(partial(self.finished, talk))
        return False

    def finished(self, talk: Conversation, future: "Future[list[bytes]]") -> None:
        """Called in the worker's thread: touch nothing that belongs to the loop."""
        self.done.append((talk, future))
        self.rope.send(b"!")

    def collect(self) -> None:
        self.bell.recv(4096)
        while self.done:
            talk, future = self.done.popleft()
            try:
                talk.outbox.extend(map(memoryview, future.result()))
                self.go_on(talk)
            except HandlerError as error:
                self.end(talk, error)


def serve(listener: socket.socket, library: Library) -> None:
    SelectPoolServer(listener, library).run()


if __name__ == "__main__":
    run(serve)
