"""A second process that does one step at a time when told, so that the order of events is the story's
order."""

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, Self, TypeAlias

from lab.sockets.tour import Log, StationError, Step, said

Script: TypeAlias = Callable[[], Iterator[tuple[str, str]]]
"""A generator: each round does one call and yields (the call, what it saw)."""

PATIENCE_S: Final = 30.0


class Actor:
    """A forked process that plays a script. What it does goes into the log under its name."""

    def __init__(self, log: Log, name: str, script: Script) -> None:
        self._log = log
        self._name = name
        self._told = 0.0
        ears, self._mouth = os.pipe()
        self._ear, voice = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._mouth)
            os.close(self._ear)
            _play(script, ears, voice)
        os.close(ears)
        os.close(voice)

    def go(self) -> None:
        """Tell it to do its next step, without waiting for it."""
        self._told = time.monotonic()
        os.write(self._mouth, b"!")

    def heard(self, states: Callable[[], str] | None = None) -> str:
        """Wait until the step is done, log it with what the kernel says then; what it saw.

        Raises StationError where the step failed or takes too long.
        """
        ready, _, _ = select.select([self._ear], [], [], PATIENCE_S)
        line = self._line() if ready else None
        if line is None:
            raise StationError(f"the process of {self._name} did not answer within {PATIENCE_S:.0f} s")
        if "error" in line:
            raise StationError(f"{self._name} could not go on: {line['error']}")
        now: float = line["at"]
        step = Step(
            at_s=now - self._log.began,
            who=self._name,
            call=line["call"],
            saw=line["saw"],
            states=states() if states else "",
            waited_s=now - self._told,
        )
        self._log.steps.append(step)
        return step.saw

    def do(self, states: Callable[[], str] | None = None) -> str:
        """One step, from the word to its result."""
        self.go()
        return self.heard(states)

    def _line(self) -> dict[str, Any] | None:
        data = b""
        while not data.endswith(b"\n"):
            more = os.read(self._ear, 65536)
            if not more:
                return None
            data += more
        return dict(json.loads(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._mouth)
        os.close(self._ear)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _play(script: Script, ears: int, voice: int) -> None:
    """In the child: one step for each byte heard. Never returns."""
    try:
        steps = script()
        while os.read(ears, 1):
            try:
                call, saw = next(steps)
                line = {"call": call, "saw": saw, "at": time.monotonic()}
            except OSError as error:
                line = {"error": said(error)}
            os.write(voice, json.dumps(line).encode() + b"\n")
    finally:
        os._exit(0)  # leave without the parent's clean-up
