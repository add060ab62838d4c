"""What TLS is told: whom to believe, how to speak, and our own certificate; and who the other side's is.

The settings of both roles, each of them proved by a test in `tests/real/test_tls.py`.
"""

import os
import ssl
import tempfile
from pathlib import Path

from peer.errors import HandshakeError
from peer.identity import Identity, node_id_of
from peer.ids import NodeId
from peer.net.swarmca import SwarmAuthority

ALPN = "manyhands/1"
"""Names the protocol inside TLS: another program's connection ends at the handshake."""

NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME, which the standard library has no name for."""

DEV_FD = "/dev/fd"


def peer_of(certificate: bytes | None) -> NodeId:
    """The node id that a verified certificate's key makes. Raises `HandshakeError`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    if certificate is None:
        raise HandshakeError("it has no certificate")
    try:
        key = load_der_x509_certificate(certificate).public_key()
    except Exception as error:
        # Everybody can sign for the public swarm, so OpenSSL lets through what this parser does not take; and
        # it says so by more than ValueError (InvalidVersion, UnsupportedAlgorithm).
        raise HandshakeError("its certificate cannot be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise HandshakeError("its key is not Ed25519")
    return node_id_of(key)


def context_for(
    protocol: "ssl._SSLMethod", identity: Identity, certificate: str, authority: SwarmAuthority
) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False  # names mean nothing here, and none is sent
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VerifyFlags(NO_CHECK_TIME)
    context.set_alpn_protocols([ALPN])
    context.load_verify_locations(cadata=authority.certificate_pem)
    _load_own(context, identity, certificate)
    return context


def _load_own(context: ssl.SSLContext, identity: Identity, certificate: str) -> None:
    """The standard library reads certificate and key from files only: here they are pipes, so that the key is
    not written anywhere."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ends = []
    try:
        for data in (certificate.encode(), key):  # far smaller than a pipe
            reader, writer = os.pipe()
            ends.append(reader)
            os.write(writer, data)
            os.close(writer)
        context.load_cert_chain(f"{DEV_FD}/{ends[0]}", f"{DEV_FD}/{ends[1]}")
        return
    except (FileNotFoundError, PermissionError):
        pass  # no /dev/fd here
    finally:
        for end in ends:
            os.close(end)
    with tempfile.TemporaryDirectory() as folder:  # 0700
        path = Path(folder, "node.pem")
        path.touch(mode=0o600)
        path.write_bytes(key + certificate.encode())
        context.load_cert_chain(path)
