"""A peer that sends half a message of TLS, in a record of its own: no library does, anybody can."""

import hashlib
import hmac
import socket
import ssl
import struct
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from peer.identity import Identity
from peer.ids import Address
from peer.net.swarmca import SwarmAuthority
from peer.net.tls import TlsStream, TlsTransport
from peer.net.tlscontext import context_for

PUBLIC = SwarmAuthority.public()
CIPHER = "TLS_AES_256_GCM_SHA384"
KEY_UPDATE = b"\x18\0\0\1\0"
"""Handshake message 24 of one byte: none is asked for in return (RFC 8446 section 4.6.3)."""


def expanded(secret: bytes, label: bytes, count: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446 section 7.1, with an empty context."""
    info = struct.pack(">HB", count, len(label) + 6) + b"tls13 " + label + b"\0"
    return hmac.new(secret, info + b"\1", hashlib.sha384).digest()[:count]


class Half:
    """A client that seals records itself once OpenSSL has done the handshake."""

    def __init__(self, address: Address, keys: Path) -> None:
        me = Identity.generate()
        context = context_for(ssl.PROTOCOL_TLS_CLIENT, me, PUBLIC.issue(me), PUBLIC)
        context.keylog_filename = str(keys)
        self.tls = context.wrap_socket(socket.create_connection(address))
        assert (self.tls.cipher() or ("",))[0] == CIPHER
        (secret,) = (
            bytes.fromhex(line.split()[2])
            for line in keys.read_text().splitlines()
            if line.startswith("CLIENT_TRAFFIC_SECRET_0")
        )
        self._key, self._iv = expanded(secret, b"key", 32), expanded(secret, b"iv", 12)
        self._number = 0

    def send(self, part: bytes) -> None:
        """A part of a handshake message, as a record."""
        head = struct.pack(">BHH", 23, 0x303, len(part) + 1 + 16)
        nonce = int.from_bytes(self._iv) ^ self._number
        self._number += 1
        record = head + AESGCM(self._key).encrypt(nonce.to_bytes(12), part + b"\x16", head)
        assert socket.socket.send(self.tls, record) == len(record)


async def met(keys: Path) -> tuple[TlsStream, Half]:
    """Both ends, and the accepting one has been sent half a message."""
    transport = TlsTransport(Identity.generate(), PUBLIC)
    (listener,) = await transport.listen("127.0.0.1", 0)
    halves: list[Half] = []

    async def dial() -> None:
        halves.append(await trio.to_thread.run_sync(Half, listener.address, keys))

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        stream = await transport.accept(await listener.accept())
    half = halves[0]
    half.send(KEY_UPDATE[:4])
    await trio.lowlevel.wait_readable(stream._socket)
    with pytest.raises(ssl.SSLWantReadError):  # so OpenSSL has seen it
        stream._read(bytearray(100))
    return stream, half


@pytest.mark.parametrize("writer_first", [False, True])
async def test_a_write_that_must_read_waits_beside_the_reader(writer_first: bool, tmp_path: Path) -> None:
    """After half a message every call of OpenSSL looks for the rest of it first. Two tasks waited for one
    descriptor, which trio does not have: one record of 26 bytes ended a node."""
    stream, half = await met(tmp_path / "keys")

    async def write() -> None:
        await stream.send_frames(b"hello")
        sent.set()

    sent = trio.Event()
    with half.tls:
        async with stream, trio.open_nursery() as nursery:
            for task in (write, stream.receive_some) if writer_first else (stream.receive_some, write):
                nursery.start_soon(task)
                await trio.testing.wait_all_tasks_blocked()
            half.send(KEY_UPDATE[4:])
            with trio.fail_after(10):
                await sent.wait()
            assert half.tls.recv(100) == b"hello"
            nursery.cancel_scope.cancel()


async def test_both_that_wait_for_the_other_half_hear_of_the_close(tmp_path: Path) -> None:
    stream, half = await met(tmp_path / "keys")

    async def closed(writes: bool) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await (stream.send_frames(b"hello") if writes else stream.receive_some())

    with half.tls:
        async with trio.open_nursery() as nursery:
            for writes in (False, True):
                nursery.start_soon(closed, writes)
                await trio.testing.wait_all_tasks_blocked()
            stream.close()
