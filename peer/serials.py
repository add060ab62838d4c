"""The serials of what this node published: a number for each name that only grows.

Kept in the home, beside the key that they belong to: whoever copies the key must copy these too. A name gets
a new serial when it is given to another share, and keeps the one it has otherwise.
"""

import json
import os
from pathlib import Path
from threading import Lock
from typing import Any

from peer.errors import StorageError
from peer.home import read_file, sync_folder
from peer.ids import ShareId
from peer.limits import SERIAL_MAX, SERIALS_BYTES_MAX
from peer.paths import fold
from peer.store.trouble import trouble

FILE = "published.json"

_writing = Lock()
"""A daemon signs several names at once, in threads; the home is one process's."""


def serial_for(home: Path, name: str, share: ShareId) -> int:
    """The serial to publish this share with under this name; durable before it is returned.

    Raises StorageError: a disk that says no, a file that is not ours.
    """
    path = home / FILE
    with _writing, trouble(str(path)):
        names = _read(path)
        there = names.get(fold(name))
        if there is not None and there["share"] == share.hex():
            serial: int = there["serial"]
            return serial
        serial = max((entry["serial"] for entry in names.values()), default=0) + 1
        names[fold(name)] = {"share": share.hex(), "serial": serial}
        _write(path, names)
    return serial


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        data = read_file(path, SERIALS_BYTES_MAX + 1)
        if len(data) > SERIALS_BYTES_MAX:
            raise ValueError
        names = json.loads(data)
        for entry in names.values():
            if type(entry["share"]) is not str or type(entry["serial"]) is not int:
                raise ValueError
            if not 0 < entry["serial"] < SERIAL_MAX:
                raise ValueError
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise StorageError(
            f"{path} cannot be read: it keeps the serials of published names; move it away, and names that"
            " were published before must expire before they can be given to other shares"
        ) from None
    return dict(names)


def _write(path: Path, names: dict[str, dict[str, Any]]) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with draft.open("x", encoding="utf-8") as file:
        json.dump(names, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
