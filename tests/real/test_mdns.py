"""Two responders of python-zeroconf on the loopback address of this machine."""

import trio

from peer.ids import NodeId, ShareId
from peer.net.dnssd import instance_name
from peer.net.lan import lan_key
from peer.net.mdns import SERVICE_TYPE, Responder, look
from tests.real.commands import PATIENCE_S

NAME = instance_name(lan_key(ShareId(bytes(32))), NodeId(bytes(range(32))))


async def test_what_one_announces_the_other_hears_and_looks_up() -> None:
    heard, news = list[tuple[str, bool]](), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def hear(name: str, there: bool) -> None:
        heard.append((name, there))
        token.run_sync_soon(news.set)

    async def next_news() -> tuple[str, bool]:
        nonlocal news
        while not heard:
            await news.wait()
            news = trio.Event()
        return heard.pop(0)

    ours, theirs = Responder(["127.0.0.1"], lambda *_: None), Responder(["127.0.0.1"], hear)
    try:
        with trio.fail_after(PATIENCE_S):
            await theirs.search()
            await ours.announce(NAME, 7701, ["10.0.0.1", "2001:db8::1"], "ours.local.")
            assert await next_news() == (NAME, True)
            assert await theirs.resolve(NAME) == (["10.0.0.1", "2001:db8::1"], 7701)
            await ours.announce(NAME, 7701, ["10.0.0.2"], "ours.local.")
            assert await next_news() == (NAME, True), "another address is news"
            hosts, _ = await theirs.resolve(NAME)
            assert hosts[0] == "10.0.0.2"
            await ours.withdraw(NAME)
            while await next_news() != (NAME, False):
                pass
            for odd in (f"\x01.{SERVICE_TYPE}", f"{'x' * 80}.{SERVICE_TYPE}", "", "."):
                assert await theirs.resolve(odd) == ([], None), "zeroconf raises for some names"
    finally:
        ours.close()
        theirs.close()
    assert await ours.resolve(NAME) == ([], None), "ended"


def test_this_machine_has_a_loopback_interface() -> None:
    interfaces, slept_s = look()
    assert any("127.0.0.1" in interface.hosts for interface in interfaces)
    assert slept_s > -1
