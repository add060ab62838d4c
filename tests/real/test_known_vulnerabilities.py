"""What others were attacked with, tried on our processes, sockets and disk. See tests/pure of this name."""

import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from peer.cli.options import network_options
from peer.errors import HandshakeError, StorageError
from peer.ids import PieceIndex
from peer.net.swarmca import NOT_AFTER, NOT_BEFORE
from peer.net.tlscontext import peer_of
from peer.store.files import open_folder
from peer.store.incoming import open_incoming
from tests.real.commands import PATIENCE_S, get, run, sharing
from tests.store_kit import NAME, random_share

SHARE = random_share(1, {("large",): 64 * 1024, ("folder", "small"): 100})


def outside(tmp_path: Path) -> Path:
    """A folder of somebody else's."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "canary").write_bytes(b"canary")
    return folder


def untouched(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == ["canary"] and (
        folder / "canary"
    ).read_bytes() == b"canary"


def test_CVE_2026_70460_a_partial_folder_that_is_a_link(tmp_path: Path) -> None:
    """rsync --partial-dir: somebody was there before us."""
    elsewhere = outside(tmp_path)
    target = tmp_path / "downloads"
    target.mkdir()
    (target / f"{NAME}.part").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="in the way"):
        open_incoming(open_folder(str(target)), NAME, SHARE.manifest)
    assert untouched(elsewhere)


def test_CVE_2017_1000420_a_folder_inside_becomes_a_link(tmp_path: Path) -> None:
    """Syncthing wrote through a link that had taken a folder's place."""
    elsewhere = outside(tmp_path)
    folder = open_folder(str(tmp_path / "downloads"), create=True)
    store = open_incoming(folder, NAME, SHARE.manifest)
    data = tmp_path / "downloads" / f"{NAME}.part" / "data"
    data.mkdir()
    (data / "folder").symlink_to(elsewhere)
    last = PieceIndex(SHARE.layout.piece_count - 1)
    with pytest.raises(StorageError, match="symbolic link"):
        store.write_piece(last, SHARE.piece(last))
    store.close()
    assert untouched(elsewhere)


def test_CVE_2023_43621_a_secret_on_the_command_line(tmp_path: Path) -> None:
    """croc's was there for `ps` to see. Ours is in a file, or asked for; a secret in its place is refused."""
    secret = "correct horse battery staple"
    result = run("peer", "get", f"magnet:?xt=urn:blake3:{'ab' * 32}", "--swarm-key", secret)
    assert result.code == 5
    assert "does not exist" in result.err

    @network_options
    def command() -> None: ...

    options = {option.name: option for option in command.__click_params__}  # type: ignore[attr-defined]
    assert options["swarm_secret"].metavar == "FILE"
    assert not {"password", "secret", "key"} & options.keys()


def test_CVE_2023_39533_keys_that_take_long_to_verify() -> None:
    """libp2p verified RSA keys of any size: here a peer's key is Ed25519 or nothing."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(HandshakeError, match="not Ed25519"):
        peer_of(certificate.public_bytes(Encoding.DER))


def test_CVE_2018_25040_a_web_page_reaches_the_port(tmp_path: Path) -> None:
    """Project Zero 1524: requests of a browser change nothing, and are told nothing of what is shared."""
    (tmp_path / "file.bin").write_bytes(b"private")
    with sharing(tmp_path / "file.bin", tmp_path / "h1") as link:
        port = int(link.rpartition("%3A" if "%3A" in link else ":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as browser:
            browser.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\r\n")
            answer = b""
            try:
                while part := browser.recv(4096):
                    answer += part
            except ConnectionResetError:
                pass
        assert b"HTTP" not in answer
        assert b"private" not in answer
        assert len(answer) < 100, "an alert of TLS at most"
        assert get(link, tmp_path / "out", tmp_path / "h2").code == 0


def test_croc_GHSA_ppjh_xp5v_46wc_a_name_in_the_link_leads_outside(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"data")
    with sharing(tmp_path / "file.bin", tmp_path / "h1") as link:
        evil = link.replace("dn=file.bin", "dn=..%2F..%2Fevil")
        assert evil != link
        result = get(evil, tmp_path / "out", tmp_path / "h2")
    assert result.code == 2
    assert not list(tmp_path.rglob("evil"))


def test_CVE_2023_43619_a_link_that_adds_to_a_hidden_folder_of_the_home(tmp_path: Path) -> None:
    """croc: whoever sent could put .ssh/authorized_keys where the receiver happened to be."""
    (tmp_path / "source" / ".ssh").mkdir(parents=True)
    (tmp_path / "source" / ".ssh" / "authorized_keys").write_bytes(b"evil")
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_bytes(b"example.org")
    with sharing(tmp_path / "source" / ".ssh", tmp_path / "h1") as link:
        assert "dn=.ssh" in link
        result = get(link, home, tmp_path / "h2", "--json")
    assert result.code == 0
    assert [path.name for path in (home / ".ssh").iterdir()] == ["known_hosts"]
    assert result.json["name"].startswith("share-")
    assert (home / result.json["name"] / "authorized_keys").read_bytes() == b"evil"
