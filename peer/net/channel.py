"""Whole messages over a stream, for the short conversations that carry no payload: peer and tracker.

The frames and the codec are those of a peer connection; what is missing is everything that bulk data needs.
One task sends and one receives. Deadlines belong to the caller, as everywhere below the edge: a cancelled
`receive` has lost nothing, a cancelled `send` leaves the stream unusable.
"""

import trio

from peer.errors import ConnectionLost, RemoteProtocolError
from peer.limits import GOODBYE_GRACE_S, UNKNOWN_MESSAGES_MAX
from peer.net.transport import Stream
from peer.wire.codec import encode
from peer.wire.framing import FrameReader, Part
from peer.wire.messages import Bitfield, Data, Message


class MessageChannel:
    """Sends and receives messages over one stream, which it owns from now on.

    Memory is bounded by the frame reader: one header. Messages of unknown kind are skipped with their
    payload, a few in a row at most.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._reader = FrameReader()

    async def send(self, message: Message) -> None:
        """Send one message. Raises ConnectionLost when the other side is gone, or does not want us."""
        frame = encode(message)
        try:
            await self._stream.send_all(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost(str(error) or "connection lost") from error

    async def receive(self) -> Message:
        """The next message.

        Raises ConnectionLost at the end of the stream, and RemoteProtocolError for what is no message, for a
        message with payload, and for a flood of unknown kinds; the channel is of no further use then.
        """
        reader = self._reader
        unknown_max = reader.unknown_frames + UNKNOWN_MESSAGES_MAX
        while True:
            event = reader.next_event()
            if reader.unknown_frames > unknown_max:
                raise RemoteProtocolError(f"more than {UNKNOWN_MESSAGES_MAX} messages of unknown kind")
            if isinstance(event, Bitfield | Data | Part):
                raise RemoteProtocolError("bulk data in a conversation that has none")
            if event is not None:
                return event
            await self._receive_bytes()

    async def _receive_bytes(self) -> None:
        try:
            count = await self._stream.receive_into(self._reader.get_buffer())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost(str(error) or "connection lost") from error
        if count == 0:
            self._reader.eof()
            raise ConnectionLost("closed by the other side")
        self._reader.buffer_updated(count)

    async def aclose(self) -> None:
        """Close the stream; politely, where the transport has manners and the other side lets it."""
        with trio.move_on_after(GOODBYE_GRACE_S):
            await self._stream.aclose()
            return
        await trio.aclose_forcefully(self._stream)
