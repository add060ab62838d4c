"""What must be true of a daemon at any moment of a plan, by what it has acknowledged (daemon_model.py)."""

from collections.abc import Container, Mapping
from typing import Any

from peer.ids import ShareId
from tests.chaos.daemon_contents import Files, parts_of
from tests.chaos.daemon_machine import DaemonMachine
from tests.chaos.daemon_model import Model
from tests.chaos.daemon_plan import LOCAL, DaemonPlan, Do
from tests.chaos.violation import demand


class Checks:
    """Looks at the daemon and at its disk. contents: of every share; remote: those of the sources."""

    def __init__(
        self,
        plan: DaemonPlan,
        home: DaemonMachine,
        model: Model,
        contents: Mapping[ShareId, Files],
        remote: Container[ShareId],
    ) -> None:
        self._plan = plan
        self._home = home
        self._model = model
        self._contents = contents
        self._remote = remote

    def rows(self) -> dict[ShareId, dict[str, Any]]:
        """List and status, as they are answered at this moment; they agree."""
        daemon = self._home.daemon
        listed, told = daemon._list(), daemon._status()
        demand(not listed["damaged"] and not told["damaged"], "damaged", f"{listed['damaged']}")
        rows = {ShareId(bytes.fromhex(row["share"])): row for row in listed["shares"]}
        demand(len(rows) == len(listed["shares"]), "list", "a share is listed twice")
        counts = told["known"], told["paused"]
        demand(
            counts == (len(rows), sum(row["paused"] for row in rows.values())),
            "list",
            f"status tells of {counts}, list of {len(rows)}",
        )
        for row in told["shares"]:
            same = rows.get(ShareId(bytes.fromhex(row["share"])))
            demand(
                same is not None and same["state"] == row["state"], "list", f"{row['name']} differs in status"
            )
        return rows

    def check(self) -> None:
        """Without a pause: it is one moment."""
        daemon = self._home.daemon
        if daemon.stopping.is_set():
            return
        rows = self.rows()
        wrong = self._model.wrong({share: row for share, row in rows.items() if share in self._contents})
        demand(wrong is None, "forgotten", str(wrong))
        members = self._home.peer.node.members
        for share, known in self._model:
            if known.settled and share in members:
                demand(share in rows, "orphan", f"{share.hex()[:12]} is not known and open")
                demand(not rows[share]["paused"], "paused", f"{share.hex()[:12]} is paused and open")
        for share in daemon._herald._shares:
            demand(share in rows, "orphan", f"{share.hex()[:12]} is not known and announced")

    def laggards(self) -> list[dict[str, Any]]:
        """What can be had and is not complete."""
        rows = self.rows().items()
        return [
            row for share, row in rows if not row["complete"] and not row["paused"] and share in self._remote
        ]

    def is_right(self, share: ShareId, row: dict[str, Any]) -> None:
        """What was fetched is on the disk, as its link names it."""
        there = self._home.peer.disk.tree()
        parts = parts_of(row["path"])
        if self._was_touched(row["path"]):
            return
        for below, data in self._contents[share].items():
            node = there.get((*parts, *below))
            found = bytearray(node.size if node is not None else 0)
            if node is not None:
                node.read_into(memoryview(found), 0)
            demand(found == data, "bytes", f"{row['path']} {'/'.join(below)} is not what was fetched")

    def _was_touched(self, path: str) -> bool:
        """A person took it away, or another share of this name was put there after this one was forgotten."""
        return (
            any(action.do is Do.LOSE and LOCAL[action.what % 4] == path for action in self._plan.actions)
            or path == "/in/one.bin"
        )

    def intact(self, share: ShareId, row: dict[str, Any]) -> bool:
        """Whether all of a share is on the disk."""
        there, parts = self._home.peer.disk.tree(), parts_of(row["path"])
        if share not in self._contents:  # of what a power loss has left of a folder
            return False
        for below, data in self._contents[share].items():
            node = there.get((*parts, *below))
            if node is None or node.size != len(data):
                return False
            found = bytearray(node.size)
            node.read_into(memoryview(found), 0)
            if found != data:
                return False
        return True
