"""Who this node is: an Ed25519 key in a file of its own, and the id that everybody can compute from it.

The node id is the SHA-256 of the public key in SubjectPublicKeyInfo form (DER): what TLS shows of a peer, and
what any tool can check: ``openssl pkey -in node-key.pem -pubout -outform DER | sha256sum``.

`cryptography` is imported only where a key is made or read: it costs a good part of a command's start.
"""

import errno
import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from peer.errors import StorageError
from peer.home import make_home, open_small, sync_folder
from peer.ids import NodeId, ShareId
from peer.limits import KEY_FILE_BYTES_MAX
from peer.published import PublishedShare, signed_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_FILE = "node-key.pem"


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's key and id. The key never leaves this process and its file, and is not printed."""

    node_id: NodeId
    private_key: "Ed25519PrivateKey" = field(repr=False)

    @classmethod
    def generate(cls) -> "Identity":
        """A new one, in memory only."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        return cls.of(Ed25519PrivateKey.generate())

    @classmethod
    def of(cls, private_key: "Ed25519PrivateKey") -> "Identity":
        """The identity that a key makes."""
        return cls(node_id_of(private_key.public_key()), private_key)

    def publish(self, name: str, share: ShareId, size: int, serial: int) -> PublishedShare:
        """An entry for a catalogue, signed."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

        key = self.private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        signature = self.private_key.sign(signed_bytes(name, share, size, serial))
        return PublishedShare(name, share, size, serial, key, signature)


def is_signed(entry: PublishedShare) -> bool:
    """Whether an entry's signature was made by the key that is in it. A key that is none signs nothing."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    text = signed_bytes(entry.name, entry.share, entry.size, entry.serial)
    try:
        Ed25519PublicKey.from_public_bytes(entry.key).verify(entry.signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def node_id_of(key: "Ed25519PublicKey") -> NodeId:
    """SHA-256 of the key's SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    return NodeId(hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest())


def load_or_create_identity(home: Path) -> Identity:
    """The identity of this home; a new one, written durably, where there is none yet.

    Raises `StorageError` with the way out: a key that others can read or write, that is somebody else's, or
    that is no key; and whatever the disk says.
    """
    path = home / KEY_FILE
    try:
        make_home(home)
        if home.stat().st_mode & stat.S_IWOTH:
            raise StorageError(
                f"{home} can be changed by anybody: run chmod o-w {home}, or choose another home"
            )
        try:
            return _load(path)
        except FileNotFoundError:
            _create(path)
            return _load(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError(f"{path} is a symbolic link: put the key itself there") from error
        raise StorageError(f"cannot use {path}: {(error.strerror or str(error)).lower()}") from error


def _load(path: Path) -> Identity:
    """Raises OSError, and `StorageError` for a file that may not be used."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    descriptor = open_small(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        # Of what is open, not of the name: that could be another file by now.
        state = os.fstat(descriptor)
        if state.st_uid != os.geteuid():
            raise StorageError(f"{path} belongs to another user: choose a home of your own with --home")
        if state.st_mode & 0o077:
            raise StorageError(f"{path} can be used by other users: run chmod 600 {path}")
        data = os.read(descriptor, KEY_FILE_BYTES_MAX)
    finally:
        os.close(descriptor)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StorageError(f"{path} is not a key: move it away and a new one will be made") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise StorageError(f"{path} is not an Ed25519 key: move it away and a new one will be made")
    return Identity.of(key)


def _create(path: Path) -> None:
    """Write a new key, whole or not at all whenever the power goes; whoever was first stays."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    data = Identity.generate().private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a process that died here under the same number
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
        try:
            os.link(draft, path)  # unlike rename, never replaces
        except FileExistsError:
            return
    finally:
        os.close(descriptor)
        draft.unlink()
    sync_folder(path.parent)
    with suppress(OSError):  # the home may be older than its key, and whoever made it did not sync it
        sync_folder(path.parent.parent)
