"""Measurements of our programs beside others. Nothing here announces itself beyond this machine."""

import os

os.environ.setdefault("MANYHANDS_LAN", "0")
