"""While a command loads, cyclic garbage is not looked for; while it works, it is."""

import subprocess
import sys
from pathlib import Path

from tests.real.commands import PATIENCE_S, environment

WATCHED = """
import gc
import sys
import peer.cli
import peer.cli.run

class Watch:
    def find_spec(self, name, path, target=None):
        if name == "peer.cli.id":
            print("loading:", gc.isenabled())

def guard(command):
    def work():
        print("working:", gc.isenabled(), gc.get_freeze_count() > 0)
        return command()
    guarded(work)

guarded, peer.cli.run._guarded = peer.cli.run._guarded, guard
sys.meta_path.insert(0, Watch())
peer.cli.main()
"""


def test_garbage_is_looked_for_once_a_command_works(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WATCHED, "id", "--home", str(tmp_path)]
    lines = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=PATIENCE_S, env=environment()
    ).stdout.splitlines()
    assert lines[:2] == ["loading: False", "working: True True"]
