"""The swarm's certificate authority: derived from a seed, so that every member has it and issues to itself.

Why there is one at all: the standard library can make a TLS server ask for a client's certificate only if it
can verify it against an authority, and there is no callback to accept an unknown key (bpo-31242). So all
members derive the same authority from the same seed, and each issues its own certificate in memory.

**This authority authenticates nothing.** Of the public swarm everybody has its key. Who a peer is, is said by
the hash of its public key, which TLS makes it prove; the seed is only the gate to a swarm, as good as it is
secret. The pattern is Chia's, with Ed25519 and TLS 1.3. Dates mean nothing either: a wrong clock must not cut
the swarm, so certificates are valid from 2000 to 9999 and times are not checked.
"""

import datetime
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.errors import UsageError
from peer.identity import Identity
from peer.limits import SWARM_SECRET_BYTES_MAX, SWARM_SECRET_BYTES_MIN

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PUBLIC_SEED = b"manyhands public swarm"
KEY_CONTEXT = b"swarm-ca-v1\0"
SECRET_SALT = b"manyhands swarm secret v1"
SECRET_COST = 2**15
"""scrypt's N: a guess costs 32 MiB and about 0.1 s. Who connects can test guesses on the certificate that it
is shown, so a secret that a person can remember needs it."""

NOT_BEFORE = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class SwarmAuthority:
    """One swarm's authority: its certificate, and the means to issue a member's."""

    certificate_pem: str
    _key: "Ed25519PrivateKey"

    @classmethod
    def public(cls) -> "SwarmAuthority":
        """Of the swarm that everybody may join."""
        return cls.from_seed(PUBLIC_SEED)

    @classmethod
    def private(cls, secret: bytes) -> "SwarmAuthority":
        """Of the swarm of those who know the secret. Raises `UsageError` if it is too short or too long."""
        if not SWARM_SECRET_BYTES_MIN <= len(secret) <= SWARM_SECRET_BYTES_MAX:
            raise UsageError(
                f"a swarm's secret has {SWARM_SECRET_BYTES_MIN} to {SWARM_SECRET_BYTES_MAX} bytes, "
                f"not {len(secret)}"
            )
        seed = hashlib.scrypt(secret, salt=SECRET_SALT, n=SECRET_COST, r=8, p=1, maxmem=2**26, dklen=32)
        return cls.from_seed(seed)

    @classmethod
    def from_seed(cls, seed: bytes) -> "SwarmAuthority":
        """The same seed gives the same certificate, byte for byte, on every machine."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415
        from cryptography.x509 import BasicConstraints, SubjectKeyIdentifier  # noqa: PLC0415

        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(KEY_CONTEXT + seed).digest())
        builder = _builder("Manyhands swarm", key.public_key(), serial=1)
        builder = (
            builder.add_extension(BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(sign_certificates=True), critical=True)
            .add_extension(SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, None).public_bytes(Encoding.PEM).decode(), key)

    def issue(self, identity: Identity) -> str:
        """A member's certificate for its own key, in PEM. Made anew in each process, never stored."""
        from cryptography import x509  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

        key = identity.private_key.public_key()
        name = identity.node_id.hex()
        builder = (
            _builder(name, key, serial=x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name[:32])]), critical=False)
        )
        return builder.sign(self._key, None).public_bytes(Encoding.PEM).decode()


def _builder(name: str, key: "Ed25519PublicKey", serial: int) -> "x509.CertificateBuilder":
    from cryptography import x509  # noqa: PLC0415

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("Manyhands swarm"))
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
    )


def _key_usage(*, sign_certificates: bool) -> "x509.KeyUsage":
    from cryptography.x509 import KeyUsage  # noqa: PLC0415

    return KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
