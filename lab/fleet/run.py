"""Publishes a file with a real `peer share`, and watches the tracker's counts until every mirror has it."""

import os
import secrets
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import trio

from lab.errors import LabError
from lab.fleet.watch import Conditions, Watch
from lab.processes import launch, program
from peer.cli.options import NetworkOptions
from peer.cli.start import make_transport
from peer.discovery.catalogue import CatalogueClient
from peer.errors import NoSourceError
from peer.home import swarm_secret
from peer.identity import Identity
from peer.ids import Address

LOOK_EVERY_S: Final = 0.2
"""Between two looks at the tracker's counts: no time that is told is more precise."""


def measure(
    conditions: Conditions,
    tracker: Address,
    key: Path | None,
    wanted: int | None,
    patience_s: float,
    folder: Path,
    say: Callable[[str], None],
) -> Watch:
    """Run it to its end. Raises LabError if nothing changes for ``patience_s``, and what the tracker's client
    raises if it is not there at the start."""
    name = f"lab-fleet-{secrets.token_hex(4)}"
    source = folder / f"{name}.bin"
    with source.open("wb") as file:
        for start in range(0, conditions.file_bytes, 1 << 20):
            file.write(os.urandom(min(1 << 20, conditions.file_bytes - start)))
    options = ["--publish", name, "--tracker", str(tracker), "--port", "0", "--home", str(folder / "home")]
    options += ["--progress", "none"]
    if conditions.up is not None:
        options += ["--up", f"{conditions.up:.0f}B"]
    if key is not None:
        options += ["--swarm-key", str(key)]
    with ExitStack() as stack:
        command = [*program("peer"), "share", str(source), *options]
        origin = launch(stack, command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return trio.run(_watch, Watch(wanted), _client(tracker, key, say), name, patience_s, origin, say)


def _client(tracker: Address, key: Path | None, say: Callable[[str], None]) -> CatalogueClient:
    secret = swarm_secret(key, say)
    network = NetworkOptions(None, (), None, None, None, plain=False, progress="none", swarm_secret=secret)
    return CatalogueClient(make_transport(network, Identity.generate()), tracker)


async def _watch(
    watch: Watch,
    client: CatalogueClient,
    name: str,
    patience_s: float,
    origin: "subprocess.Popen[str]",
    say: Callable[[str], None],
) -> Watch:
    told, silent = 0, False
    watch.changed = started = trio.current_time()
    while not watch.over(trio.current_time()):
        if origin.poll() is not None:
            raise LabError(f"the origin ended: {origin.stderr.read().strip() if origin.stderr else ''}")
        try:
            listing = await client.find(name)
        except NoSourceError as error:
            if not silent:
                say(f"{error}; waiting for it")
            silent = True
            if watch.begun is None and trio.current_time() - started > patience_s:
                raise
            listing = None  # a tracker that is restarted in the middle is part of the experiment
        now = trio.current_time()
        if listing is not None:
            watch.look(now, listing.seeders, listing.leechers)
        if len(watch.done) > told:
            told = len(watch.done)
            say(f"{told} have it after {watch.done[-1]:.1f} s")
        if now - watch.changed > patience_s:
            raise LabError(
                f"nothing changed for {patience_s:.0f} s, {len(watch.done)} copies are out: does anybody"
                f" mirror there (`peer mirror --tracker {client.tracker}`)?"
            )
        await trio.sleep(LOOK_EVERY_S)
    return watch
