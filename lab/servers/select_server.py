"""One thread for all clients: ask the kernel who is ready, do a little for each, ask again.

Nothing here may wait: not `recv`, not `send`, not the handler. What a thread keeps on its stack, where in the
conversation it is and what is still to be sent, must be written down by hand in a `Conversation`.
"""

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

from lab.servers.library import REQUEST_BYTES_MAX, HandlerError, Library, complain
from lab.servers.start import run

RECEIVE_BYTES = 64 * 1024


class Conversation:
    """Where we are with one client."""

    def __init__(self, conn: socket.socket) -> None:
        self.conn = conn
        self.inbox = bytearray()
        self.outbox: deque[memoryview] = deque()
        self.waits_for = 0  # the events it is registered for

    def next_request(self) -> bytes:
        """The next whole line, empty if there is none yet. Raises HandlerError."""
        end = self.inbox.find(b"\n") + 1
        if not end and len(self.inbox) > REQUEST_BYTES_MAX:
            raise HandlerError("a request without an end")
        request = bytes(self.inbox[:end])
        del self.inbox[:end]
        return request


class SelectServer:
    def __init__(self, listener: socket.socket, library: Library) -> None:
        self.listener = listener
        self.library = library
        self.selector = DefaultSelector()
        listener.setblocking(False)
        self.selector.register(listener, EVENT_READ, self.accept)

    def run(self) -> None:
        while True:
            for key, _events in self.selector.select():
                ready: Callable[[], None] = key.data
                ready()

    def accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):  # the client may have left the queue again
            conn, _ = self.listener.accept()
            conn.setblocking(False)
            self.wait_for(Conversation(conn), EVENT_READ)

    def wait_for(self, talk: Conversation, events: int) -> None:
        """Be woken when this client can be read from, written to, or (0) not at all."""
        if events == talk.waits_for:
            return
        if talk.waits_for:
            self.selector.unregister(talk.conn)
        if events:
            wake = partial(self.receive if events == EVENT_READ else self.go_on, talk)
            self.selector.register(talk.conn, events, wake)
        talk.waits_for = events

    def receive(self, talk: Conversation) -> None:
        try:
            data = talk.conn.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(talk, error)
            return
        if data:
            talk.inbox += data
            self.go_on(talk)
        else:
            self.end(talk)

    def go_on(self, talk: Conversation) -> None:
        """Send what is to be sent, then answer the next request, until one of the two has to wait."""
        try:
            while self.send(talk):
                request = talk.next_request()
                if not request:
                    self.wait_for(talk, EVENT_READ)
                    return
                if not self.handle(talk, request):
                    return
        except (OSError, HandlerError) as error:
            self.end(talk, error)

    def send(self, talk: Conversation) -> bool:
        """Send what the kernel takes. False: the rest must wait until it has room again."""
        while talk.outbox:
            try:
                sent = talk.conn.send(talk.outbox[0])
            except BlockingIOError:
                self.wait_for(talk, EVENT_WRITE)
                return False
            talk.outbox[0] = talk.outbox[0][sent:]
            if not talk.outbox[0]:
                talk.outbox.popleft()
        return True

    def handle(self, talk: Conversation, request: bytes) -> bool:
        """Put the answer into the outbox. False (see select_pool_server): it will be there later."""
        talk.outbox.extend(map(memoryview, self.library.answer(request)))
        return True

    def end(self, talk: Conversation, error: Exception | None = None) -> None:
        if error:
            complain(error)
        self.wait_for(talk, 0)
        talk.conn.close()


def serve(listener: socket.socket, library: Library) -> None:
    SelectServer(listener, library).run()


if __name__ == "__main__":
    run(serve)
