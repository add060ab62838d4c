"""TLS over real loopback sockets: who is let in and who is not, and the authority that it rests on."""

import datetime
import hashlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import AuthorityKeyIdentifier

from peer.errors import DialError, HandshakeError, LocalProtocolError, UsageError
from peer.identity import Identity
from peer.ids import Address, NodeId
from peer.net import swarmca, tls, tlscontext
from peer.net.swarmca import SwarmAuthority
from peer.net.tcp import TcpStream, TcpTransport
from peer.net.tls import TlsTransport
from tests.loopback import HOSTS
from tests.real.tls_ends import ACCEPTING, DIALLING, HERE, PUBLIC, THERE, pair

OTHER = SwarmAuthority.from_seed(b"another swarm")


@asynccontextmanager
async def raw_pair() -> AsyncIterator[tuple[TcpStream, TcpStream]]:
    """Two ends of a connection before any handshake."""
    (listener,) = await ACCEPTING.listen("127.0.0.1", 0)
    async with listener, await TcpTransport().dial(listener.address) as one, await listener.accept() as two:
        assert isinstance(two, TcpStream)
        yield one, two


# --- who is who


@pytest.mark.parametrize("host", HOSTS)
async def test_both_sides_know_the_other_for_sure(host: str) -> None:
    async with pair(host) as (one, two):
        assert one.peer == THERE.node_id
        assert two.peer == HERE.node_id
        assert one.remote.host == two.remote.host == host
        assert one.cipher.startswith("TLSv1.3 ")
        await one.send_all(b"hello")
        assert await two.receive_some() == b"hello"


async def serve(
    listener: trio.abc.Listener[trio.abc.Stream], transport: TlsTransport, result: list[object]
) -> None:
    """Accept one; note what came of it."""
    stream = await listener.accept()
    assert isinstance(stream, TcpStream)
    try:
        secure = await transport.accept(stream)
    except HandshakeError as error:
        result.append(str(error))
    else:
        result.append(secure.peer)
        await secure.aclose()


async def dial_and_serve(
    client: TlsTransport, server: TlsTransport, expected: NodeId | None = None
) -> tuple[object, object]:
    """What came of a dial, on both sides: an id or a reason."""
    (listener,) = await server.listen("127.0.0.1", 0)
    served: list[object] = []
    dialled: object
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(serve, listener, server, served)
        try:
            stream = await client.dial(listener.address, expected)
        except DialError as error:
            dialled = str(error)
        else:
            try:
                await stream.receive_some()
                dialled = stream.peer
            except trio.BrokenResourceError as error:
                dialled = str(error)
            await stream.aclose()
    return dialled, served[0]


async def test_the_expected_node_is_let_through_and_another_is_not() -> None:
    assert await dial_and_serve(DIALLING, ACCEPTING, THERE.node_id) == (THERE.node_id, HERE.node_id)
    dialled, _ = await dial_and_serve(DIALLING, ACCEPTING, HERE.node_id)
    assert str(dialled).endswith("another node answers there")


async def test_a_node_can_see_that_it_dialled_itself() -> None:
    assert await dial_and_serve(DIALLING, DIALLING) == (HERE.node_id, HERE.node_id)


async def test_another_swarm_is_refused_by_both_sides() -> None:
    stranger = TlsTransport(Identity.generate(), OTHER)
    dialled, served = await dial_and_serve(stranger, ACCEPTING)
    assert "not of this swarm" in str(dialled)
    assert "swarm" in str(served)
    # A stranger who does not check is refused all the same, and learns it at the first read.
    stranger._client.verify_mode = ssl.CERT_NONE
    dialled, served = await dial_and_serve(stranger, ACCEPTING)
    assert "does not take our certificate" in str(dialled)
    assert "not of this swarm" in str(served)


def client_context(*, certificate: tuple[str, bytes] | None = None) -> ssl.SSLContext:
    """A client of this swarm's protocol that trusts anybody; with a certificate and key, if given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([tlscontext.ALPN])
    if certificate is not None:
        pem, key = certificate
        Path("both.pem").write_text(pem + key.decode())
        context.load_cert_chain("both.pem")
    return context


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def knock(context: ssl.SSLContext) -> tuple[object, object]:
    client = TlsTransport(HERE, PUBLIC)
    client._client = context
    return await dial_and_serve(client, ACCEPTING)


def pem_of(key: object) -> bytes:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    assert isinstance(pem, bytes)
    return pem


async def test_no_certificate_is_refused() -> None:
    dialled, served = await knock(client_context())
    assert "did not return a certificate" in str(served)
    assert "connection lost" in str(dialled)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", "it does not take our certificate"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "it does not take our certificate"),
        ("SSLV3_ALERT_DECRYPT_ERROR", "it does not take our certificate"),
        ("TLSV1_ALERT_INTERNAL_ERROR", "tlsv1 alert internal error"),
        ("CERTIFICATE_LENGTH_MISMATCH", "certificate length mismatch"),
    ],
)
def test_only_what_is_about_our_certificate_is_said_of_it(reason: str, text: str) -> None:
    error = ssl.SSLError(1, "what OpenSSL says")
    error.reason = reason
    assert tls._reason(error).startswith(text)


async def test_a_self_signed_certificate_is_refused() -> None:
    identity = Identity.generate()
    builder = swarmca._builder("self", identity.private_key.public_key(), serial=7)
    pem = builder.sign(identity.private_key, None).public_bytes(Encoding.PEM).decode()
    _, served = await knock(client_context(certificate=(pem, pem_of(identity.private_key))))
    assert "not of this swarm" in str(served)


async def test_a_member_cannot_issue_for_others() -> None:
    member = Identity.generate()
    as_authority = SwarmAuthority(PUBLIC.issue(member), member.private_key)
    guest = Identity.generate()
    chain = as_authority.issue(guest) + PUBLIC.issue(member)
    _, served = await knock(client_context(certificate=(chain, pem_of(guest.private_key))))
    assert "not of this swarm" in str(served)


async def test_a_key_of_another_kind_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = swarmca._builder("elliptic", key.public_key(), serial=7)  # type: ignore[arg-type]
    issuer = AuthorityKeyIdentifier.from_issuer_public_key(PUBLIC._key.public_key())
    pem = (
        builder.add_extension(issuer, critical=False)
        .sign(PUBLIC._key, None)
        .public_bytes(Encoding.PEM)
        .decode()
    )
    _, served = await knock(client_context(certificate=(pem, pem_of(key))))
    assert served == "its key is not Ed25519"


def of_version(identity: Identity, number: int) -> str:
    """A certificate of this swarm that says it is of another version of X.509; 2 on the wire is the usual."""
    usual = swarmca._builder("old", identity.private_key.public_key(), serial=7).sign(PUBLIC._key, None)
    version = b"\xa0\x03\x02\x01"
    signed = usual.tbs_certificate_bytes.replace(version + b"\x02", version + bytes((number,)), 1)
    ed25519 = bytes.fromhex("300506032b6570")
    content = signed + ed25519 + b"\x03\x41\x00" + PUBLIC._key.sign(signed)
    return ssl.DER_cert_to_PEM_cert(b"\x30\x82" + len(content).to_bytes(2, "big") + content)


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_a_certificate_of_another_version_is_a_handshake_error(version: int) -> None:
    """OpenSSL takes one of version 2 (1 on the wire), `cryptography` raises InvalidVersion for it: from there
    it ended the whole node."""
    stranger = Identity.generate()
    pem = of_version(stranger, version)
    _, served = await knock(client_context(certificate=(pem, pem_of(stranger.private_key))))
    assert "certificate" in str(served)
    server = TlsTransport(THERE, PUBLIC)
    server._server.load_cert_chain("both.pem")
    dialled, _ = await dial_and_serve(DIALLING, server)
    assert "certificate" in str(dialled)


async def test_an_old_protocol_is_refused() -> None:
    context = client_context(certificate=(PUBLIC.issue(HERE), pem_of(HERE.private_key)))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, served = await knock(context)
    assert "protocol" in str(served)


@pytest.mark.parametrize("protocols", [["http/1.1"], []])
async def test_another_protocol_in_tls_is_refused_by_both_sides(protocols: list[str]) -> None:
    context = client_context(certificate=(PUBLIC.issue(HERE), pem_of(HERE.private_key)))
    if protocols:
        context.set_alpn_protocols(protocols)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain("both.pem")
    dialled, served = await knock(context)
    assert "does not speak this protocol" in str(served)
    assert "does not speak this protocol" in str(dialled)


@pytest.mark.parametrize("years", [(2001, 2002), (9000, 9001)])
async def test_no_clock_matters(monkeypatch: pytest.MonkeyPatch, years: tuple[int, int]) -> None:
    monkeypatch.setattr(swarmca, "NOT_BEFORE", datetime.datetime(years[0], 1, 1, tzinfo=datetime.UTC))
    monkeypatch.setattr(swarmca, "NOT_AFTER", datetime.datetime(years[1], 1, 1, tzinfo=datetime.UTC))
    expired = TlsTransport(HERE, SwarmAuthority.public())
    assert await dial_and_serve(expired, ACCEPTING) == (THERE.node_id, HERE.node_id)
    assert await dial_and_serve(ACCEPTING, expired) == (HERE.node_id, THERE.node_id)


async def test_plain_and_tls_say_so_to_each_other() -> None:
    async with raw_pair() as (one, two), trio.open_nursery() as nursery:
        nursery.start_soon(one.send_all, b"\0\0\0\x10this is no TLS.")
        with pytest.raises(HandshakeError, match="does not speak TLS"):
            await ACCEPTING.accept(two)
    (listener,) = await TcpTransport().listen("127.0.0.1", 0)
    async with listener, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def plain() -> None:
            async with await listener.accept() as stream:
                await stream.send_all(b"\0\0\0\x10this is no TLS.")
                await stream.receive_some()

        with pytest.raises(DialError, match=r"cannot reach .*: it does not speak TLS"):
            await DIALLING.dial(listener.address)


async def test_a_silent_client_costs_no_more_than_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with raw_pair() as (one, two):
        with trio.move_on_after(10) as scope:
            await ACCEPTING.accept(two)
        assert scope.cancelled_caught
        assert await one.receive_some() == b""  # and its socket is closed


async def test_a_client_that_leaves_in_the_handshake_is_a_handshake_error() -> None:
    async with raw_pair() as (one, two):
        await one.send_all(b"\x16\x03\x01")
        await one.aclose()
        with pytest.raises(HandshakeError, match="cut off"):
            await ACCEPTING.accept(two)


async def test_nobody_there_is_a_dial_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DialError, match="connection refused"):
            await DIALLING.dial(Address("127.0.0.1", taken.getsockname()[1]))


async def test_only_its_own_listeners_streams_are_accepted() -> None:
    async with pair() as (one, _):
        with pytest.raises(LocalProtocolError):
            await ACCEPTING.accept(one)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
async def test_openssl_sees_tls_1_3_and_key_updates_do_no_harm() -> None:
    client_context(certificate=(PUBLIC.issue(HERE), pem_of(HERE.private_key)))  # writes both.pem
    await trio.Path("ca.pem").write_text(PUBLIC.certificate_pem)
    (listener,) = await ACCEPTING.listen("127.0.0.1", 0)
    command = ["openssl", "s_client", "-connect", str(listener.address), "-alpn", tlscontext.ALPN]
    command += ["-cert", "both.pem", "-key", "both.pem", "-CAfile", "ca.pem", "-verify_return_error"]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with listener, await ACCEPTING.accept(await listener.accept()) as stream:
            assert stream.peer == HERE.node_id
            assert stream.cipher.split()[1].startswith(("TLS_AES_", "TLS_CHACHA20_"))
            await process.stdin.send_all(b"K\n")  # new keys, and asks for ours
            await until(process.stderr, b"KEYUPDATE")
            await process.stdin.send_all(b"hello\n")
            assert await stream.receive_some() == b"hello\n"
            await stream.send_all(b"the new keys work")
            output = await until(process.stdout, b"the new keys work")
        assert b"Verify return code: 0 (ok)" in output
        assert b"New, TLSv1.3, Cipher is TLS_" in output
        assert b"ALPN protocol: manyhands/1" in output
        assert b"New Session Ticket" not in output
    finally:
        process.kill()
        await process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            await pipe.aclose()


async def until(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    output = b""
    while end not in output:
        part = await stream.receive_some()
        assert part, output
        output += part
    return output


# --- the authority


def test_everybody_derives_the_same_authority() -> None:
    """Other versions and programs depend on these bytes: they may never change."""
    code = "from peer.net.swarmca import SwarmAuthority as A; print(A.public().certificate_pem, end='')"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == PUBLIC.certificate_pem
    assert hashlib.sha256(ssl.PEM_cert_to_DER_cert(PUBLIC.certificate_pem)).hexdigest() == (
        "40ca43aad4ad3fcf30cc891f9ae2056b428bfbb6c9aeaeaf44bb60f767d816ff"
    )


def test_a_secret_makes_a_swarm_of_its_own() -> None:
    one, same, other = (
        SwarmAuthority.private(secret) for secret in (b"correct horse", b"correct horse", b"wrong horse")
    )
    assert one.certificate_pem == same.certificate_pem
    assert len({PUBLIC.certificate_pem, one.certificate_pem, other.certificate_pem}) == 3
    for secret in (b"", b"short", b"x" * 5000):
        with pytest.raises(UsageError, match="a swarm's secret has"):
            SwarmAuthority.private(secret)


@pytest.mark.skipif(not Path(tlscontext.DEV_FD).is_dir(), reason="no /dev/fd here")
async def test_the_key_is_not_written_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryDirectory", None)
    transport = TlsTransport(HERE, PUBLIC)
    assert await dial_and_serve(transport, ACCEPTING) == (THERE.node_id, HERE.node_id)


async def test_without_dev_fd_the_key_goes_through_a_private_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tlscontext, "DEV_FD", "/nonexistent")
    transport = TlsTransport(HERE, PUBLIC)
    assert await dial_and_serve(transport, ACCEPTING) == (THERE.node_id, HERE.node_id)
