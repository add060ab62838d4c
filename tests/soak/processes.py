"""What the kernel says of a running process, and a sharer whose stderr is heard."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.real.commands import PATIENCE_S, begin


@dataclass
class Sharer:
    """A sharing peer on loopback: its link, and every line that it has said."""

    process: subprocess.Popen[str]
    link: str
    lines: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    @property
    def port(self) -> int:
        """Where it listens, from its link."""
        return int(self.link.rpartition("%3A" if "%3A" in self.link else ":")[2])

    def listen(self) -> None:
        """Collect what it says, until it ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line.rstrip())
                self.news.notify_all()

    def wait_for(self, text: str, seconds: float) -> bool:
        """Whether it says such a line within that time, or has said it."""
        with self.news:
            return self.news.wait_for(lambda: any(text in line for line in self.lines), seconds)


@contextmanager
def heard_sharing(path: Path, home: Path, *options: str | Path) -> Iterator[Sharer]:
    """Share a path for the length of the block."""
    process = begin("peer", "share", path, "--host", "127.0.0.1", "--port", "0", "--home", home, *options)
    assert process.stdout is not None
    sharer = Sharer(process, process.stdout.readline().strip())
    listener = threading.Thread(target=sharer.listen)
    listener.start()
    try:
        yield sharer
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        listener.join()
        assert not any("Traceback" in line for line in sharer.lines), "\n".join(sharer.lines)


@contextmanager
def fetching(link: str, folder: Path, home: Path, *options: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """A getting peer on loopback that tells its `progress`; killed at the end of the block."""
    process = begin(
        "peer", "get", link, "-o", folder, "--host", "127.0.0.1", "--home", home,
        "--progress", "json", *options,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def progress(process: "subprocess.Popen[str]") -> Iterator[int]:
    """The bytes that a getter holds, as often as it says so; a moment old."""
    assert process.stderr is not None
    for line in process.stderr:
        with suppress(ValueError):
            yield int(json.loads(line).get("done", 0))


def descriptors(pid: int) -> int:
    """Open files of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def peak_memory(pid: int) -> int:
    """The most memory that a process has had resident, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM in /proc")
