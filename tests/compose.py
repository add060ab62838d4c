"""The composed network, end to end, with a real engine: `make compose-test`.

usage: python -m tests.compose [--peers 5]

Builds the image and starts tracker, seed and peers, which mirror what the seed publishes: a private swarm
behind limited uplinks. Kills a peer and the tracker midway and starts them again, stops the seed once a peer
is complete, and compares every copy byte for byte. Then the folder changes and the seed comes back: each peer
fetches the new version beside the old one. Nobody without the key is told anything, and nothing runs as root.
Says why (and ends with 0) where there is no Docker engine. BASE names a base image where none can be pulled.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = "manyhands-test"
IMAGE = "manyhands-test"
NAME = "Letters of 2026"
UP = "16mbit"
FILE_BYTES = 24 << 20
PATIENCE_S = 180.0
GRACE_S = 10.0
"""docker-compose.yml's stop_grace_period."""

# Runs in the containers, which have nothing but Python: one line a file, name and hash.
LIST_FILES = """
import hashlib, os
for folder, folders, names in os.walk('/data'):
    if '.manyhands' in folders:
        folders.remove('.manyhands')
    for name in names:
        path = os.path.join(folder, name)
        print(os.path.relpath(path, '/data'), hashlib.sha256(open(path, 'rb').read()).hexdigest())
"""


def unavailable() -> str | None:
    """Why it cannot be done here, or None."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    if subprocess.run(["docker", "info"], check=False, capture_output=True).returncode:
        return "no Docker engine answers"
    if compose_command() is None:
        return "neither `docker compose` nor docker-compose is installed"
    return None


def compose_command() -> list[str] | None:
    """Compose v2, else v1."""
    if not subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


class Network:
    """The composed network of one test."""

    def __init__(self, shared: Path, key: Path) -> None:
        self._compose = [*(compose_command() or []), "-p", PROJECT, "-f", str(ROOT / "docker-compose.yml")]
        self._environment = os.environ | {
            "SHARED": str(shared), "UP": UP, "TRACKER_PORT": "17700", "SEED_PORT": "17701", "NAME": NAME,
            "MANYHANDS_IMAGE": IMAGE, "SWARM_KEY": str(key),
        }  # fmt: skip

    def compose(self, *arguments: str) -> str:
        """A compose command, which must succeed."""
        done = subprocess.run(
            [*self._compose, *arguments], check=False, capture_output=True, text=True, env=self._environment
        )
        if done.returncode:
            raise SystemExit(f"compose {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-q", service).split()

    def log(self) -> str:
        return self.compose("logs", "--tail", "20")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def listed(container: str) -> dict[str, str]:
    """Files and hashes in a peer's folder; nothing while it is restarting."""
    done = subprocess.run(
        ["docker", "exec", container, "python3", "-c", LIST_FILES],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    return dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())


def expected(shared: Path, folder: str = NAME) -> dict[str, str]:
    """What every peer shall have, below the folder of the share."""
    return {
        f"{folder}/{path.relative_to(shared)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in shared.rglob("*")
        if path.is_file()
    }


def say(begun: float, text: str) -> None:
    print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)


def wait_for(what: str, network: Network, condition: object) -> None:
    """Poll until it is so."""
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what}: not within {PATIENCE_S:.0f} s\n{network.log()}")
        time.sleep(0.3)


def began(container: str) -> bool:
    """Whether a peer has the first bytes."""
    return any(name.startswith((f"{NAME}.part/data", f"{NAME}/")) for name in listed(container))


def check_ends(names: Sequence[str]) -> None:
    """Everybody ended by itself, with 0."""
    for name in names:
        state = json.loads(docker("inspect", "--format", "{{json .State}}", name))
        if state["ExitCode"] != 0:
            raise SystemExit(f"container {name} ended with {state['ExitCode']}")


def check_users(containers: Sequence[str]) -> None:
    """No process in any of them is root's."""
    for container in containers:
        users = {line.split()[0] for line in docker("top", container, "-eo", "uid,pid").splitlines()[1:]}
        if not users or "0" in users:
            raise SystemExit(f"container {container} runs as root")


def check_private(network: Network) -> None:
    """The tracker tells members what is published, and strangers nothing."""
    ask = ["peer", "search", "--json", "--tracker", "tracker:7700"]
    [inside] = network.containers("seed")
    key = ["--home", "/tmp/asking", "--swarm-key", "/run/secrets/swarm_key"]
    told = json.loads(docker("exec", inside, *ask, *key))
    if [result["name"] for result in told["results"]] != [NAME]:
        raise SystemExit(f"the catalogue lists {told}")
    outside = subprocess.run(
        ["docker", "run", "--rm", "--network", f"{PROJECT}_default", IMAGE, *ask],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if outside.returncode != 3 or outside.stdout:
        raise SystemExit(f"a stranger is told {outside.returncode}: {outside.stdout} {outside.stderr}")


def change(shared: Path) -> dict[str, str]:
    """Another version of the folder; what of it every peer shall have, by its name in the share."""
    (shared / "letters" / "7.txt").write_text("another letter\n")
    (shared / "postscript.txt").write_text("one more thing\n")
    return expected(shared, "")


def has_version(container: str, wanted: dict[str, str]) -> bool:
    """Whether a folder called after the name and the share id has just these files."""
    newer = {name.partition("/") for name in listed(container) if name.startswith(f"{NAME}.")}
    folders = {folder for folder, _, _ in newer}
    if len(folders) != 1 or next(iter(folders)).endswith(".part"):
        return False
    files = listed(container)
    return {"/" + n.partition("/")[2]: h for n, h in files.items() if n.startswith(f"{NAME}.")} == wanted


def run(shared: Path, key: Path, peers: int) -> None:
    """The whole story."""
    begun = time.monotonic()
    network = Network(shared, key)
    wanted = expected(shared)
    network.compose("build")
    say(begun, "built")
    try:
        started = time.monotonic()
        network.compose("up", "-d", "--scale", f"peer={peers}")
        members = network.containers("peer")
        if len(members) != peers:
            raise SystemExit(f"{len(members)} peers were started, not {peers}")
        wait_for("first bytes", network, lambda: any(map(began, members)))
        say(begun, f"up: first bytes {time.monotonic() - started:.1f} s after `up`")
        [tracker], [seed] = network.containers("tracker"), network.containers("seed")
        check_users([*members, tracker, seed])
        check_private(network)
        docker("kill", members[0], tracker)
        time.sleep(1)
        docker("start", members[0], tracker)
        say(begun, "one peer and the tracker were killed and started again")
        wait_for("the first copy", network, lambda: any(listed(member) == wanted for member in members))
        docker("stop", "-t", str(int(GRACE_S)), seed)
        say(begun, "one peer is complete: the seed was stopped")
        wait_for("all copies", network, lambda: all(listed(member) == wanted for member in members))
        say(begun, f"{peers} copies are identical")
        check_ends([seed])
        newer = change(shared)
        docker("start", seed)
        wait_for("the new version", network, lambda: all(has_version(m, newer) for m in members))
        if any(not wanted.items() <= listed(member).items() for member in members):
            raise SystemExit("the older version was touched")
        say(begun, "the folder was changed: every peer has the new version beside the old one")
        stopping = time.monotonic()
        network.compose("stop")
        if time.monotonic() - stopping > GRACE_S:
            raise SystemExit("they did not stop within the grace period")
        check_ends([*members, tracker, seed])
        say(begun, f"stopped within {time.monotonic() - stopping:.1f} s, exit codes 0")
    finally:
        network.compose("down", "-v", "--remove-orphans")


def main() -> None:
    """Run it, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peers", type=int, default=5)
    arguments = parser.parse_args()
    reason = unavailable()
    if reason is not None:
        print(f"skipped: {reason}")
        sys.exit(0)
    with tempfile.TemporaryDirectory(prefix="manyhands-compose-") as folder:
        shared = Path(folder) / "shared"
        (shared / "letters").mkdir(parents=True)
        (shared / "large.bin").write_bytes(random.Random(1).randbytes(FILE_BYTES))
        for number in range(20):
            (shared / "letters" / f"{number}.txt").write_text(f"letter {number}\n" * (number + 1))
        key = Path(folder) / "swarm.key"
        key.write_text(random.SystemRandom().randbytes(32).hex())
        key.chmod(0o644)
        for path in (Path(folder), shared, shared / "letters"):
            path.chmod(0o755)  # the containers' user must be able to read it
        run(shared, key, arguments.peers)


if __name__ == "__main__":
    main()
