"""What people ask a daemon, and what each request does to the model (daemon_model.py) as it is answered."""

import math
from collections.abc import Mapping, Sequence
from random import Random

from peer.control import protocol
from peer.control.protocol import Answer, Done, Failed, Progress, Request
from peer.ids import Address, ShareId
from peer.magnet import MagnetLink
from tests.chaos.daemon_model import Change, Known, Model
from tests.chaos.daemon_plan import FOLDERS, LOCAL, REMOTE, Action, Do


class Requests:
    """Draws the request of each action.

    remote, local: the shares by REMOTE's number and LOCAL's path. has: the numbers that each source has."""

    def __init__(
        self,
        model: Model,
        remote: Sequence[ShareId],
        local: Mapping[str, list[ShareId]],
        sources: Sequence[Address],
        has: Sequence[Sequence[int]],
        tracker: Address,
    ) -> None:
        self._model = model
        self._remote = remote
        self._local = local
        self._sources = sources
        self._has = has
        self._tracker = str(tracker)

    def subject(self, action: Action) -> ShareId:
        """The share that an action is about."""
        if action.what < 6:
            return self._remote[action.what % 4]
        versions = self._local[LOCAL[action.what % 4]]
        return versions[action.where % len(versions)] if action.amount < 0.4 else versions[0]

    def draw(self, action: Action) -> "tuple[Request, Act]":  # noqa: PLR0911 - one case a command
        """The request of an action, and what it does to the model as it is heard of."""
        model, what = self._model, action.what
        rng = Random(action.seed)
        up = rng.choice((None, None, None, 20_000.0, 50_000.0))
        match action.do:
            case Do.GET:
                number = what % 4
                folder = FOLDERS[action.where % 3] if rng.random() < 0.3 else FOLDERS[0]
                timeout = rng.choice((None, 3.0, 10.0))
                peers = tuple(
                    str(source) for source, has in zip(self._sources, self._has, strict=True) if number in has
                )
                trackers = (self._tracker,) if rng.random() < 0.3 else ()
                link = str(MagnetLink(self._remote[number], REMOTE[number]))
                get = protocol.Get(link, folder, peers=peers, trackers=trackers, up=up, timeout_s=timeout)
                return get, GetAct(model, self._remote[number], f"{folder}/{REMOTE[number]}", up)
            case Do.SHARE:
                path = LOCAL[what % 4]
                trackers = (self._tracker,) if rng.random() < 0.3 else ()
                return protocol.Share(path, up=up, trackers=trackers), ShareAct(
                    model, path, self._local[path], up
                )
            case Do.PAUSE_ALL | Do.RESUME_ALL:
                paused = action.do is Do.PAUSE_ALL
                return (protocol.Pause() if paused else protocol.Resume()), PauseAllAct(model, paused)
            case Do.PAUSE | Do.RESUME:
                share, paused = self.subject(action), action.do is Do.PAUSE
                change = Change()
                change.write(model.shares[share].paused, paused)
                return (protocol.Pause if paused else protocol.Resume)(share.hex()), Act(change)
            case Do.REMOVE:
                share, change = self.subject(action), Change()
                change.forget(model.shares[share])
                return protocol.Remove(share.hex()), Act(change)
            case Do.LIMITS:
                share, change = self.subject(action), Change()
                up, down = rng.choice((up, math.inf)), rng.choice((None, 20_000.0, math.inf))
                for register, rate in ((model.shares[share].up, up), (model.shares[share].down, down)):
                    if rate is not None:
                        change.write(register, _limit(rate))
                return protocol.Limits(share.hex(), up=up, down=down), Act(change)
            case Do.LIST:
                return protocol.List(), Act(Change())
            case _:
                return protocol.Status(), Act(Change())


class Act:
    """What a command does to the model as it is heard of."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def hear(self, answer: Answer | None) -> None:
        """An answer came; None: the line is gone."""
        if not isinstance(answer, Progress):
            self._change.end(sure=isinstance(answer, Done))


class GetAct(Act):
    """Known as soon as it tells of progress. One that fails may not be kept."""

    def __init__(self, model: Model, share: ShareId, path: str, up: float | None) -> None:
        super().__init__(Change())
        self._loss = Change()
        known = model.shares[share]
        _gain(self._change, known, "get", path, up)
        self._loss.forget(known)

    def hear(self, answer: Answer | None) -> None:
        match answer:
            case Progress() | Done():
                self._change.end(sure=True)
        match answer:
            case Done():
                self._loss.discard()
            case Failed() | None:
                self._change.end(sure=False)
                self._loss.end(sure=False)


class ShareAct(Act):
    """Which share it is comes with the answer: it depends on what was there. Another of that path goes."""

    def __init__(self, model: Model, path: str, possible: list[ShareId], up: float | None) -> None:
        super().__init__(Change())
        self._model, self._path = model, path
        self._gains, self._losses = {}, {}
        for share in possible:
            gain, loss, known = Change(), Change(), model.shares[share]
            _gain(gain, known, "share", path, up)
            loss.forget(known)
            self._gains[share], self._losses[share] = gain, loss

    def hear(self, answer: Answer | None) -> None:
        if isinstance(answer, Progress):
            return
        now = ShareId(bytes.fromhex(answer.body["share"])) if isinstance(answer, Done) else None
        for share, gain in self._gains.items():
            loss = self._losses[share]
            if now is None:
                gain.end(sure=False)
                loss.end(sure=False)
            elif share == now:
                gain.end(sure=True)
                loss.discard()
            else:
                gain.discard()
                place = self._model.shares[share].place.values
                if ("share", self._path) in place:
                    loss.end(sure=place == {("share", self._path)})
                else:
                    loss.discard()


class PauseAllAct(Act):
    """It means whatever is known: for sure only what was known all the while."""

    def __init__(self, model: Model, paused: bool) -> None:
        super().__init__(Change())
        self._changes: list[tuple[Known, bool, Change]] = []
        for _, known in model:
            change = Change()
            change.write(known.paused, paused)
            self._changes.append((known, known.surely, change))

    def hear(self, answer: Answer | None) -> None:
        if not isinstance(answer, Progress):
            for known, surely, change in self._changes:
                change.end(sure=isinstance(answer, Done) and surely and known.surely)


def _gain(change: Change, known: Known, role: str, path: str, up: float | None) -> None:
    change.write(known.known, True)
    change.write(known.paused, False)
    change.write(known.place, (role, path))
    if up is not None:
        change.write(known.up, _limit(up))


def _limit(rate: float) -> float | None:
    return None if rate == math.inf else rate
