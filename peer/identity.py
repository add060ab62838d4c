"""This node's key, and the id that follows from it.

The key is an Ed25519 private key in PEM (PKCS 8), in the home, readable by its owner only. The node id is the
SHA-256 of the public key as SubjectPublicKeyInfo, so `openssl pkey -pubout -outform DER | sha256sum` gives it
too.
"""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peer.errors import StorageError
from peer.ids import NodeId

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "key.pem"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is."""

    node_id: NodeId
    key: "Ed25519PrivateKey"


def load_or_create_identity(home: Path) -> Identity:
    """The key of this home, made now if there is none.

    Raises StorageError if it cannot be read or written, is no such key, or can be read by other users.
    """
    path = home / KEY_FILE
    try:
        with suppress(FileExistsError):
            _create(path)
        return _load(path)
    except OSError as error:
        raise StorageError(f"cannot use the key {path}: {error.strerror}") from error


def _create(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - start-up shall feel instant
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    if path.exists():
        raise FileExistsError(path)
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Written aside and linked into place: nobody ever sees half a key, and of two processes one wins.
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)
    finally:
        aside.unlink()


def _load(path: Path) -> Identity:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & 0o077:
            raise StorageError(f"the key {path} can be read by other users: chmod 600 {path}")
        text = file.read()
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except (ValueError, TypeError) as error:
        raise StorageError(f"{path} is not a private key: move it away, and a new one is made") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StorageError(f"{path} is not an Ed25519 key: move it away, and a new one is made")
    return Identity(node_id_of(key.public_key()), key)


def node_id_of(public_key: object) -> NodeId:
    """SHA-256 of an Ed25519 public key in SubjectPublicKeyInfo form."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    if not isinstance(public_key, Ed25519PublicKey):
        raise TypeError("a node's key is an Ed25519 key")
    spki = public_key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return NodeId(hashlib.sha256(spki).digest())
