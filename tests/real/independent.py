"""A second implementation, from docs/protocol.md alone: short, one thing after the other, nothing of ours.

It imports neither `peer` nor `tracker`, and whoever changes it looks at the document and not at them: that is
what it is for (`test_independent.py`).
"""

import contextlib
import datetime
import hashlib
import socket
import ssl
import tempfile
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgpack  # type: ignore[import-untyped]
from blake3 import blake3
from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PATIENCE_S = 240
"""Only the end of waiting for what hangs, on the slowest machine."""

Header = dict[str, Any]


class Link(NamedTuple):
    """Section 1: the share id, and peers with the node id that each must have, if any."""

    share: bytes
    peers: list[tuple[str, str, int]]

    @classmethod
    def parse(cls, text: str) -> "Link":
        fields = parse_qs(text.removeprefix("magnet:?"))
        peers = []
        for peer in fields.get("x.pe", []):
            node, _, address = peer.rpartition("@")
            host, port = address.rsplit(":", 1)
            peers.append((node, host.strip("[]"), int(port)))
        return cls(bytes.fromhex(fields["xt"][0].removeprefix("urn:blake3:")), peers)


# --- section 2


def raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)


def node_id(key: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(key.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)).digest()


class Me:
    """A key, and the two ends of TLS that it makes in the swarm of a seed."""

    def __init__(self, secret: bytes | None = None) -> None:
        seed = b"manyhands public swarm"
        if secret is not None:
            salt = b"manyhands swarm secret v1"
            seed = hashlib.scrypt(secret, salt=salt, n=32768, r=8, p=1, maxmem=2**26, dklen=32)
        self.key = Ed25519PrivateKey.generate()
        self.node = node_id(self.key.public_key())
        authority = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"swarm-ca-v1\0" + seed).digest())
        self._trusted = _certificate(authority, authority.public_key(), "Manyhands swarm", ca=True)
        self._own = _certificate(authority, self.key.public_key(), self.node.hex(), ca=False)

    def context(self, role: int) -> ssl.SSLContext:
        context = ssl.SSLContext(role)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=self._trusted)
        context.set_alpn_protocols(["manyhands/1"])
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self._own)
            file.write(self.key.private_bytes(*_PEM, ser.NoEncryption()).decode())
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def dial(self, host: str, port: int, *, plain: bool = False) -> "Connection":
        sock = socket.create_connection((host, port), PATIENCE_S)
        return Connection(sock if plain else self.context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(sock))

    def accept(self, listener: socket.socket, *, plain: bool = False) -> "Connection":
        listener.settimeout(PATIENCE_S)
        sock, _ = listener.accept()
        sock.settimeout(PATIENCE_S)
        if not plain:
            sock = self.context(ssl.PROTOCOL_TLS_SERVER).wrap_socket(sock, server_side=True)
        return Connection(sock)

    def hello(self, share: bytes, port: int = 0, window: int = 8) -> Header:
        said = {"kind": "hello", "version": 1, "share": share, "node": self.node}
        return said | {"window": window, "port": port}

    def announce(self, share: bytes, port: int, event: str, left: int) -> Header:
        said = {"kind": "announce", "version": 1, "share": share, "node": self.node}
        return said | {"port": port, "event": event, "left": left, "want": 50}

    def publish(self, name: str, share: bytes, size: int, serial: int = 1) -> Header:
        signed = b"manyhands published share v1\0" + msgpack.packb([name, share, size, serial])
        said = {"kind": "publish", "version": 1, "name": name, "share": share, "size": size, "serial": serial}
        return said | {"key": raw(self.key.public_key()), "signature": self.key.sign(signed)}


_PEM = (ser.Encoding.PEM, ser.PrivateFormat.PKCS8)


def _certificate(authority: Ed25519PrivateKey, key: Ed25519PublicKey, name: str, *, ca: bool) -> str:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    usage = x509.KeyUsage(not ca, False, False, False, False, ca, False, False, False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    made = (
        x509.CertificateBuilder(named("Manyhands swarm"), named(name), key, 1 if ca else 4711)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority, None)
    )
    return made.public_bytes(ser.Encoding.PEM).decode()


# --- sections 3 to 7


class Connection:
    """Frames, whole, in both directions."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.other: bytes | None = None
        if isinstance(sock, ssl.SSLSocket):
            certificate = x509.load_der_x509_certificate(sock.getpeercert(binary_form=True) or b"")
            key = certificate.public_key()
            assert isinstance(key, Ed25519PublicKey)
            self.other = node_id(key)
        self.seen: deque[tuple[Header, bytes]] = deque()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *error: object) -> None:
        self.bye()

    def send(self, header: Header, payload: bytes = b"", cut: int = 2**24) -> None:
        packed = msgpack.packb(header | ({"payload": len(payload)} if payload else {}))
        frame = len(packed).to_bytes(4, "big") + packed + payload
        for start in range(0, len(frame), cut):
            self.sock.sendall(frame[start : start + cut])

    def receive(self) -> tuple[Header, bytes]:
        """The next message. Pings are answered on the way. EOFError where there is no more."""
        while True:
            header = msgpack.unpackb(self._exactly(int.from_bytes(self._exactly(4), "big")))
            payload = self._exactly(header.get("payload", 0))
            if header["kind"] != "ping":
                return header, payload
            self.send({"kind": "pong", "number": header["number"]})

    def wait_for(self, *kinds: str) -> tuple[Header, bytes]:
        """The next one of these kinds; the others are noted in `seen`."""
        while True:
            header, payload = self.receive()
            if header["kind"] in kinds:
                return header, payload
            assert header["kind"] != "bye", header
            self.seen.append((header, payload))

    def answer(self, request: int) -> bytes:
        """All parts of one answer. LookupError with the code where it is rejected."""
        got, total = b"", None
        while total is None or len(got) < total:
            header, payload = self.wait_for("data", "reject")
            assert header["id"] == request
            if header["kind"] == "reject":
                raise LookupError(header["code"])
            assert header["offset"] == len(got)
            total = header["total"]
            got += payload
        return got

    def fetch(self, me: Me, share: bytes) -> tuple["Content", list[bytes]]:
        """As the side that dialled: greet, ask for the manifest, then for every piece, the last one first."""
        self.send(me.hello(share))
        assert self.receive()[0]["share"] == share
        held = self.wait_for("bitfield")[1]
        self.send({"kind": "request_manifest", "id": 0})
        content = Content(self.answer(0))
        assert content.share == share
        self.send({"kind": "bitfield", "payload": len(held)}, bytes(len(held)))
        self.send({"kind": "interested", "on": True})
        assert self.wait_for("choke")[0]["on"] is False
        pieces: list[bytes] = []
        for piece in reversed(range(len(content.digests))):
            request = 5000 - piece
            self.send({"kind": "request", "id": request, "piece": piece})
            pieces.insert(0, self.answer(request))
            assert len(pieces[0]) == content.lengths[piece]
            assert blake3(pieces[0]).digest() == content.digests[piece]
            self.send({"kind": "have", "pieces": [piece]})
        return content, pieces

    def serve(self, me: Me, content: "Content", pieces: list[bytes], part: int) -> None:
        """As the side that accepted: greet and serve until the other one has everything or leaves; by the
        book, and nothing of it as our own nodes do."""
        assert self.receive()[0]["share"] == content.share
        self.send({"kind": "of_version_7", "list": [{"a": None}]}, b"skip me")
        self.send(me.hello(content.share, window=3) | {"colour": "blue"}, cut=1)
        self.send({"kind": "bitfield"}, bytes((len(pieces) + 7) // 8))
        for piece in reversed(range(len(pieces))):
            self.send({"kind": "have", "pieces": [piece, piece]})
        self.send({"kind": "choke", "on": False})
        lacking, refused = set(range(len(pieces))), False
        while lacking:
            said, payload = self.wait_for("request_manifest", "request", "have", "bitfield", "bye")
            if said["kind"] == "bye":
                assert said["code"] == 0, said
                return
            if said["kind"] == "have":
                lacking -= set(said["pieces"])
            elif said["kind"] == "bitfield":
                assert payload == bytes(len(payload)), "it had nothing"
            elif said["kind"] == "request" and not refused:
                refused = True
                self.send({"kind": "choke", "on": True})
                self.send({"kind": "reject", "id": said["id"], "code": 1})
                self.send({"kind": "choke", "on": False})
            else:
                body = content.manifest if said["kind"] == "request_manifest" else pieces[said["piece"]]
                for at in range(0, len(body), part):
                    about = {"kind": "data", "id": said["id"], "offset": at, "total": len(body)}
                    self.send(about, body[at : at + part])
                    self.send({"kind": "interested", "on": bool(at % 2)})

    def bye(self) -> None:
        """Leave, and read what is on its way until the other side has left as well."""
        with contextlib.suppress(EOFError, OSError):
            self.send({"kind": "bye", "code": 0})
            while True:
                self.receive()
        self.sock.close()

    def _exactly(self, count: int) -> bytes:
        got = bytearray()
        while len(got) < count:
            if not (some := self.sock.recv(count - len(got))):
                raise EOFError
            got += some
        return bytes(got)


# --- section 9


Files = dict[tuple[str, ...], bytes]


def cut_up(files: Files, size: int) -> list[bytes]:
    """The pieces of these files."""
    large = [files[path] for path in sorted(files) if len(files[path]) >= size]
    small = [files[path] for path in sorted(files) if len(files[path]) < size]
    return [run[at : at + size] for run in [*large, b"".join(small)] for at in range(0, len(run), size)]


class Content:
    """What a manifest says, and the way from files to a manifest and from pieces to files."""

    def __init__(self, manifest: bytes) -> None:
        self.manifest = manifest
        self.share = blake3(manifest).digest()
        fields = msgpack.unpackb(manifest)
        assert list(fields) == ["files", "folders", "piece_bytes", "pieces", "version"]
        self.files: list[tuple[list[str], int, bytes, bool]] = fields["files"]
        size, digests = fields["piece_bytes"], fields["pieces"]
        self.digests = [digests[at : at + 32] for at in range(0, len(digests), 32)]
        self._order = sorted(range(len(self.files)), key=lambda n: self.files[n][1] < size)
        runs = [self.files[n][1] for n in self._order if self.files[n][1] >= size]
        runs.append(sum(length for _, length, _, _ in self.files if length < size))
        self.lengths = [min(size, run - at) for run in runs for at in range(0, run, size)]
        assert len(self.lengths) == len(self.digests)

    @classmethod
    def of(cls, files: Files, size: int = 16384) -> "Content":
        """Describe these files."""
        listed = [[path, len(files[path]), blake3(files[path]).digest(), False] for path in sorted(files)]
        digests = b"".join(blake3(piece).digest() for piece in cut_up(files, size))
        fields = {"files": listed, "folders": [], "piece_bytes": size, "pieces": digests, "version": 1}
        return cls(msgpack.packb(fields))

    def files_of(self, pieces: list[bytes]) -> Files:
        """The files, verified."""
        stream, at, files = b"".join(pieces), 0, Files()
        for number in self._order:
            path, size, digest, _ = self.files[number]
            files[tuple(path)] = stream[at : at + size]
            assert blake3(stream[at : at + size]).digest() == digest
            at += size
        return files
