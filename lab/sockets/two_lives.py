"""Station 2: the server's life and the client's, side by side."""

import socket
from collections.abc import Iterator

from lab.sockets.actor import Actor
from lab.sockets.kernel import address, states
from lab.sockets.tour import Log, Station


def server() -> Iterator[tuple[str, str]]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    yield "socket()", f"descriptor {listener.fileno()}, no address yet"
    listener.bind(("127.0.0.1", 0))
    yield "bind()", address(listener.getsockname())
    listener.listen()
    yield "listen()", "the kernel takes clients in from now on"
    conn, peer = listener.accept()
    yield "accept()", f"new descriptor {conn.fileno()}, client at {address(peer)}"
    yield "read()", f"{conn.recv(100)!r}"
    conn.sendall(b"I hear you\n")
    yield "write()", f"{b'I hear you' + bytes([10])!r}"
    yield "read()", f"{conn.recv(100)!r}: nothing more will come, ever"
    conn.close()
    yield "close(connection)", "says goodbye in turn"
    listener.close()
    yield "close(listener)", "nobody can come in any more"


def client_of(port: int) -> Iterator[tuple[str, str]]:
    conn = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    yield "socket()", f"descriptor {conn.fileno()}, no address yet"
    conn.connect(("127.0.0.1", port))
    yield "connect()", f"from {address(conn.getsockname())} to {address(conn.getpeername())}"
    conn.sendall(b"hello\n")
    yield "write()", f"{b'hello' + bytes([10])!r}"
    yield "read()", f"{conn.recv(100)!r}"
    conn.close()
    yield "close()", "says goodbye first"


def run(log: Log) -> str:
    with Actor(log, "server", server) as serves:
        serves.do()
        port = int(serves.do().rpartition(":")[2])

        def now() -> str:
            return states(port)

        serves.do(now)  # listen
        serves.go()  # accept waits: nobody is there
        with Actor(log, "client", lambda: client_of(port)) as calls:
            calls.do(now)
            calls.do(now)  # connect
            serves.heard(now)  # ... and accept returns
            serves.go()  # read waits: nothing has been said
            calls.do(now)
            serves.heard(now)
            serves.do(now)
            calls.do(now)
            calls.do(now)  # the client closes
            serves.do(now)  # the server reads the end
            serves.do(now)
        serves.do(now)
    accept = next(step for step in log.steps if step.call == "accept()")
    log.fact("port", port)
    log.fact("accept waited, ms", round(accept.waited_s * 1000, 2))
    seen = [state for step in log.steps for state in step.states.split(", ") if state]
    log.fact(
        "states seen", ", ".join(dict.fromkeys(state.split()[-1] for state in seen)) or "not visible here"
    )
    return (
        "The server prepares (socket, bind, listen) and waits (accept); the client comes (socket,"
        " connect). Then both read and write alike, and each closes its own end. An empty read is the"
        " other side's goodbye; who says it first keeps the connection in TIME_WAIT for a while, so that"
        " late packets find nobody new."
    )


STATION = Station(
    2,
    "Two lives",
    "What does a server do from birth to death, what does a client, and what does the kernel make of it?",
    run,
)
