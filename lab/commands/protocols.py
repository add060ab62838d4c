"""`lab protocols`: the grammar."""

import click

from lab.commands.common import Output, with_output

SECONDS_EACH = 0.5
SECONDS_EACH_QUICK = 0.05


@click.command()
@with_output
def protocols(*, output: Output) -> None:
    """The same request and answer as JSON lines, XML and length-prefixed msgpack.

    Bytes on the wire, time to encode and decode, and what becomes of truncated, damaged and hostile messages,
    with our decoders and with the libraries left alone.
    """
    from lab.protocols import report

    output.finish(report.result(SECONDS_EACH_QUICK if output.quick else SECONDS_EACH))
