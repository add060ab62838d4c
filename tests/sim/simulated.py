"""Tests that run inside the simulation: virtual time, sealed off, from a seed."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec

from peer.sim.network import SimNetwork, open_network
from peer.sim.run import run

P = ParamSpec("P")


def simulated(test: Callable[Concatenate[SimNetwork, P], Awaitable[None]]) -> Callable[P, None]:
    """Make a plain test of an async one whose first argument is a network; its invariants are checked after.

    pytest-trio cannot do it: its trio mode insists on its own runner, and finds a clock only among a test's
    direct arguments.
    """

    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        async def body() -> None:
            async with open_network() as network:
                await test(network, *args, **kwargs)
                network.check_invariants()

        run(0, body)

    signature = inspect.signature(test)
    wrapper.__name__, wrapper.__doc__ = getattr(test, "__name__", "test"), test.__doc__
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:], return_annotation=None
    )
    return wrapper
