"""The work of `peer serve`: home, node, daemon, its socket, and the signals of a service."""

import logging
import signal
from functools import partial
from typing import Any

import trio

from peer.cli.configured import config_path, read_config
from peer.cli.options import TRACKER_PORT, NetworkOptions, outward_address
from peer.cli.run import Stop
from peer.cli.serve_options import ServeOptions
from peer.cli.start import Started, start
from peer.config import BY_NAME, KEYS
from peer.control import local
from peer.control.server import ControlServer
from peer.daemon.daemon import Daemon
from peer.daemon.disk import DiskPlaces, open_shelf
from peer.daemon.logs import set_level, set_up_logs
from peer.daemon.publishing import Publishing
from peer.daemon.records import ShareRecord
from peer.daemon.systemd import ServiceManager
from peer.errors import ManyhandsError, UsageError
from peer.ids import Address
from peer.published import PublishedShare
from peer.serials import serial_for
from peer.units import parse_rate
from peer.workers import Lane

logger = logging.getLogger(__name__)


class Serving:
    """One run of `peer serve`."""

    def __init__(self, network: NetworkOptions, options: ServeOptions, stop: Stop) -> None:
        self._network = network
        self._options = options
        self._stop = stop
        self._service = ServiceManager()

    async def run(self) -> int:
        """Serve until stopped. Raises ManyhandsError for what keeps it from starting."""
        set_up_logs(self._options.log_level, as_json=self._options.log_json)
        started = await start(self._network, self._options.port)
        try:
            shelf = await started.workers.run(Lane.DISK, open_shelf, started.home.path)
            daemon = Daemon(started.node, started.workers, shelf, DiskPlaces())
            daemon.context.trackers = self._network.trackers
            daemon.context.announce = self._options.announce
            daemon.context.host = self._network.host
            daemon.publishing = Publishing(started.node.services, partial(_sign, started))
            listener = local.listen(started.home.path)
            try:
                await self._serve(daemon, started, listener)
            finally:
                local.remove(started.home.path)
        finally:
            started.home.close()
        return 0

    async def _serve(self, daemon: Daemon, started: Started, listener: trio.SocketListener) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_asked, daemon)
            nursery.start_soon(self._reload_when_asked, daemon, started)
            async with trio.open_nursery() as commands:
                await nursery.start(daemon.run)
                commands.start_soon(self._listen, listener, ControlServer(daemon))
                commands.start_soon(self._say_alive)
                where = ", ".join(str(address) for address in started.node.addresses)
                logger.info("ready on %s, home %s", where, started.home.path)
                self._service.ready(f"{len(daemon.residents)} shares on {where}")
                await daemon.stopping.wait()
                self._service.stopping()
                logger.info("stopping")
                with trio.move_on_after(0.2):  # who asked us to stop is to hear that we do
                    await trio.sleep_forever()
                commands.cancel_scope.cancel()
            await daemon.ended.wait()
            nursery.cancel_scope.cancel()
        logger.info("stopped")

    async def _listen(self, listener: trio.SocketListener, server: ControlServer) -> None:
        async def serve(stream: trio.SocketStream) -> None:
            if not local.is_ours(stream.socket):
                logger.warning("refused a command of another user")
                await trio.aclose_forcefully(stream)
                return
            await server.serve(stream)

        await trio.serve_listeners(serve, [listener])

    async def _stop_when_asked(self, daemon: Daemon) -> None:
        await self._stop.requested.wait()
        daemon.stopping.set()

    async def _say_alive(self) -> None:
        while (every := self._service.watchdog_s) is not None:
            self._service.alive()
            await trio.sleep(every / 2)

    async def _reload_when_asked(self, daemon: Daemon, started: Started) -> None:
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            async for _ in signals:
                self._service.reloading()
                try:
                    values = read_config(self._network.home)
                    self._take_up(daemon, started, values)
                except ManyhandsError as error:
                    logger.error("not reloaded: %s", error)
                else:
                    logger.info("reloaded %s", config_path(self._network.home))
                    await daemon.recheck()
                self._service.ready(f"{len(daemon.residents)} shares")

    def _take_up(self, daemon: Daemon, started: Started, values: dict[str, Any]) -> None:
        """Go by a file that was read again, where neither a flag nor the environment has the say."""
        services = started.node.services
        try:
            announce = None if (text := values.get("announce")) is None else outward_address(text)
        except ValueError as error:
            raise UsageError(f"{config_path(self._network.home)}: announce: {error}") from error
        for key in KEYS:
            if self._options.sources.get(key.parameter) in ("flag", "environment"):
                continue
            value = values.get(key.name)
            match key.name:
                case "up":
                    services.up.set_rate(None if value is None else parse_rate(value))
                case "down":
                    services.down.set_rate(None if value is None else parse_rate(value))
                case "log_level":
                    set_level(value or "info")
                case "tracker":
                    texts = [value] if isinstance(value, str) else value or []
                    daemon.context.trackers = tuple(Address.parse(text, TRACKER_PORT) for text in texts)
                case "announce":
                    daemon.context.announce = announce
        fixed = [name for name in values if not BY_NAME[name].reload]
        if fixed:
            logger.info("these take effect with the next start: %s", ", ".join(fixed))


def _sign(started: Started, record: ShareRecord) -> PublishedShare:
    """The entry of a share for the catalogues, with this node's key."""
    name = record.publish or record.name
    serial = serial_for(started.home.path, name, record.share)
    return started.identity.publish(name, record.share, record.total_bytes, serial)
