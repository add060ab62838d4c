"""One thread for all clients, written as if each had its own: trio keeps the `Conversation` for us.

Compare `talk` here with `talk` in `library`: the same lines with `await` before whatever may wait.
Underneath it is the loop of `select_server`. Between two awaits no other task runs, so a counter is safe
without a lock, and so heavy work must be handed to a thread in so many words.
"""

import socket
from functools import partial

import trio

from lab.servers.library import REQUEST_BYTES_MAX, HandlerError, Library, complain
from lab.servers.start import run


async def talk(library: Library, stream: trio.SocketStream) -> None:
    try:
        async with stream:
            inbox = bytearray()
            while request := await read_line(stream, inbox):
                if library.is_heavy(request):
                    answer = await trio.to_thread.run_sync(library.answer, request)
                else:
                    answer = library.answer(request)
                for part in answer:
                    await stream.send_all(part)
    except (trio.BrokenResourceError, HandlerError) as error:
        complain(error)


async def read_line(stream: trio.SocketStream, inbox: bytearray) -> bytes:
    """The next line, kept in `inbox` until it is whole; empty at the end of the stream."""
    while (end := inbox.find(b"\n") + 1) == 0:
        if len(inbox) > REQUEST_BYTES_MAX:
            raise HandlerError("a request without an end")
        data = await stream.receive_some()
        if not data:
            return b""
        inbox += data
    line = bytes(inbox[:end])
    del inbox[:end]
    return line


async def serve_all(listener: socket.socket, library: Library) -> None:
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    await trio.serve_listeners(partial(talk, library), listeners)


def serve(listener: socket.socket, library: Library) -> None:
    trio.run(serve_all, listener, library)


if __name__ == "__main__":
    run(serve)
