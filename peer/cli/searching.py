"""The work of `peer search`: ask every tracker, lay the answers together, show the best first."""

import json
import sys
from collections.abc import Sequence

import click

from peer.cli.options import NetworkOptions
from peer.cli.run import say
from peer.cli.start import make_transport
from peer.discovery.catalogue import Answered, CatalogueClient, Question
from peer.errors import ExitCode, NoSourceError, UsageError
from peer.home import Home, home_path
from peer.identity import load_or_create_identity
from peer.ids import Address, NodeId
from peer.limits import SEARCH_WORDS_MAX
from peer.magnet import MagnetLink
from peer.paths import printable
from peer.published import Listing
from peer.units import format_bytes

MATCHES_MAX = 1000
"""Taken from one tracker: the best of them are shown. Who gets as many adds a word."""


async def search(
    network: NetworkOptions,
    words: Sequence[str],
    publisher: NodeId | None,
    limit: int,
    *,
    as_json: bool,
) -> int:
    """Ask and print; the exit code.

    Raises ContentError for a tracker that lies, NoSourceError if none answers.
    """
    if len(words) > SEARCH_WORDS_MAX:
        raise UsageError(f"{len(words)} words are too many: at most {SEARCH_WORDS_MAX} can be asked for")
    home = Home(home_path(network.home), exclusive=False)
    transport = make_transport(network, load_or_create_identity(home.path))
    answers: dict[Address, Answered] = {}
    for tracker in network.trackers:
        question = Question(words=tuple(words), node=publisher)
        try:
            client = CatalogueClient(transport, tracker)
            answers[tracker] = await client.answer(question, most=max(MATCHES_MAX, limit))
        except NoSourceError as error:
            if len(network.trackers) == 1:
                raise
            say(f"peer: {error}")
    if not answers:
        raise NoSourceError("no tracker answered")
    found = _together(answers)
    shown = list(found)[:limit]
    if as_json:
        click.echo(_as_json(shown, found, answers))
    else:
        if shown and sys.stdout.isatty():
            say(f"{'seeds':>5} {'leech':>5} {'size':>10}  {'publisher':64}  name")
        for listing in shown:
            click.echo(_line(listing))
    more = any(answer.more for answer in answers.values())
    if len(found) > len(shown) or more:
        say(f"{len(found)}{' or more' if more else ''} match, {len(shown)} are shown: add a word, or --limit")
    names = sum(answer.names for answer in answers.values())
    if not found:
        say(
            f"nothing that is published there matches (names in all: {names})"
            if names
            else "nothing is published there"
        )
        return ExitCode.NO_SOURCE
    return ExitCode.DONE


def _together(answers: dict[Address, Answered]) -> dict[Listing, list[Address]]:
    """Each entry once, with the trackers that list it; the ones with most seeders first."""
    best: dict[object, Listing] = {}
    where: dict[object, list[Address]] = {}
    for tracker, answer in answers.items():
        for listing in answer.listings:
            entry = listing.entry
            where.setdefault(entry, []).append(tracker)
            if entry not in best or listing.seeders > best[entry].seeders:
                best[entry] = listing
    ordered = sorted(best.values(), key=lambda one: (-one.seeders, -one.leechers, one.entry.name))
    return {listing: where[listing.entry] for listing in ordered}


def _line(listing: Listing) -> str:
    entry = listing.entry
    return (
        f"{listing.seeders:5} {listing.leechers:5} {format_bytes(entry.size):>10}  {entry.node.hex()}  "
        f"{printable(entry.name)}"
    )


def _as_json(
    shown: Sequence[Listing], found: dict[Listing, list[Address]], answers: dict[Address, Answered]
) -> str:
    results = []
    for listing in shown:
        entry = listing.entry
        link = MagnetLink(entry.share, entry.name, entry.size, tuple(found[listing]))
        results.append(
            {
                "name": entry.name,
                "share_id": entry.share.hex(),
                "bytes": entry.size,
                "seeders": listing.seeders,
                "leechers": listing.leechers,
                "publisher": entry.node.hex(),
                "serial": entry.serial,
                "link": str(link),
            }
        )
    names = sum(answer.names for answer in answers.values())
    return json.dumps({"results": results, "matches": len(found), "names": names})
