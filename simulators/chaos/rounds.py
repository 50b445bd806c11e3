"""Round after round: guests come and go, a blow falls in the middle of the traffic, the system comes back."""

import asyncio
from collections.abc import Callable, Sequence

from simulators.chaos.arena import Arena
from simulators.chaos.plan import PAUSE, STUMBLE, Blow, Round

AIM_S = 1.0
"""Longest wait for the messages that a blow is aimed at, s: after a round without rest there may be none."""


async def play(arena: Arena, plan: Sequence[Round], say: Callable[[str], None]) -> None:
    """All rounds; each takes about a second."""
    for one in plan:
        arena.check()
        arena.crowd.go(one.go)
        arena.crowd.come(one.come)
        for name, edge in one.move:
            arena.crowd.move(name, edge)
        arena.crowd.look_at_phones()
        await arena.tap.more(one.after, AIM_S)
        await asyncio.sleep(one.delay_ms / 1000)  # part of the aim
        say(f"round {one.number:>{len(str(len(plan)))}} of {len(plan)}: {one}")
        await asyncio.gather(*(strike(arena, blow, one.rest) for blow in one.blows))


async def strike(arena: Arena, blow: Blow, rest: bool) -> None:
    """Do it, undo it, and with `rest` wait for a sign of life."""
    program = arena.program(blow.victim)
    if blow.what == PAUSE:
        program.pause()
        await asyncio.sleep(blow.for_ms / 1000)  # the pause itself
        alive = arena.sign_of_life(blow.victim, reborn=False)
        program.resume()
    else:
        alive = arena.sign_of_life(blow.victim)
        await arena.kill(blow.victim)
        if blow.what == STUMBLE:
            program.start()
        await asyncio.sleep(blow.for_ms / 1000)  # the outage itself, or the time to start in
        if blow.what == STUMBLE:
            await arena.kill(blow.victim)
        program.start()
    if rest:
        await arena.expect(alive, str(blow))
