"""What tests of the store over the simulated disk begin with."""

import pytest

from peer.sim.disk import SimDisk
from peer.sim.files import SimFolder


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk()


@pytest.fixture
def folder(disk: SimDisk) -> SimFolder:
    return SimFolder(disk)
