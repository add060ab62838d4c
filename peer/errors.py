"""What can go wrong, said once: the exceptions, their exit codes, and the codes that travel on the wire.

Every error that a user may see is a `ManyhandsError` whose text is one line: it names the thing and the way
out. `RemoteProtocolError` is the other side's fault and is all that hostile input may raise;
`LocalProtocolError` is a bug of ours.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status says; scripts rely on these."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    NO_SOURCE = 3
    NOT_VERIFIED = 4
    STORAGE = 5
    INTERRUPTED = 130


class ByeCode(IntEnum):
    """Why a side closes a connection; sent in `bye`."""

    GOODBYE = 0
    WRONG_VERSION = 1
    UNKNOWN_SHARE = 2
    SELF = 3
    DUPLICATE = 4
    FULL = 5
    PROTOCOL = 6
    IDLE = 7
    CORRUPT = 8
    USELESS = 9
    TOO_SLOW = 10


class ManyhandsError(Exception):
    """Base of everything that we raise on purpose."""

    exit_code = ExitCode.INTERNAL


class UsageError(ManyhandsError):
    """An option, an address or a link that cannot be understood; also a port that is taken."""

    exit_code = ExitCode.USAGE


class LinkError(UsageError):
    """A magnet link that cannot be read."""


class NoSourceError(ManyhandsError):
    """Nobody was found who has the share, or nothing came for too long."""

    exit_code = ExitCode.NO_SOURCE


class ContentError(ManyhandsError):
    """Data or a peer's answer that does not verify."""

    exit_code = ExitCode.NOT_VERIFIED


class ManifestError(ContentError):
    """A manifest that is malformed, dangerous, or not the one that the link names."""


class StorageError(ManyhandsError):
    """The disk said no: permission, space, a file in the way, an input/output error."""

    exit_code = ExitCode.STORAGE


class StorageFullError(StorageError):
    """No space left: the transfer can go on when there is room again."""


class StorageLackError(StorageError):
    """No descriptor or memory left just now: nothing is wrong with the file, and soon it may be had."""


class SourceChangedError(StorageError):
    """A shared file is no longer what was hashed: nothing of it may be sent."""


class ProtocolError(ManyhandsError):
    """A message that the protocol does not allow here."""

    exit_code = ExitCode.NOT_VERIFIED


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: a bug in this program."""


class RemoteProtocolError(ProtocolError):
    """The other side broke the protocol. Parsing remote input raises this and nothing else.

    bye_code: what our goodbye says about it.
    """

    bye_code = ByeCode.PROTOCOL


class WrongVersionError(RemoteProtocolError):
    """The other side speaks another version of the protocol."""

    bye_code = ByeCode.WRONG_VERSION


class ConnectionLost(ManyhandsError):  # noqa: N818 - an event more than an error
    """The other side is gone: reset, closed, silent for too long, or said goodbye."""

    exit_code = ExitCode.NO_SOURCE


class DialError(ConnectionLost):
    """An address that could not be reached."""


class HandshakeError(ConnectionLost):
    """The other side is not of this swarm, does not speak this protocol, or cannot prove who it is."""


class RejectCode(IntEnum):
    """Why a request gets no data; sent in `reject`."""

    NOT_HELD = 0
    CHOKED = 1
    CANCELLED = 2
    UNREADABLE = 3
    BUSY = 4
    ELSEWHERE = 5
