"""People on their way: habit and seed → where somebody is at any instant. Time and randomness are arguments."""

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from simulators.floorplan import Crowd, FloorPlan, Habit, Point


@dataclass(frozen=True, slots=True)
class Walk:
    """One way through the shop. `times_s[i]` is when `points[i]` is reached; from the last on nobody is there.

    `redeem_s`: instants, s, at which a code is shown to the till.
    """

    times_s: tuple[float, ...]
    points: tuple[Point, ...]
    redeem_s: tuple[float, ...]

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.times_s[-1]

    def at(self, t_s: float) -> Point | None:
        """Where somebody is at `t_s`; None before and after."""
        if not self.times_s[0] <= t_s < self.times_s[-1]:
            return None
        place = bisect_right(self.times_s, t_s) - 1
        (x0, y0), (x1, y1) = self.points[place], self.points[place + 1]
        span_s = self.times_s[place + 1] - self.times_s[place]
        share = (t_s - self.times_s[place]) / span_s if span_s > 0 else 1.0
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody: `who` is member, refuser or bystander."""

    name: str
    who: str
    walk: Walk
    advert_ms: int


def plan_walk(habit: Habit, start_s: float, dice: random.Random) -> Walk:
    """A way with this habit, beginning at `start_s`."""
    speed = dice.uniform(*habit.speed_m_per_s)
    times, points, redeem = [start_s], [habit.stops[0].at], []
    for before, stop in pairwise(habit.stops):
        reached_s = times[-1] + math.dist(before.at, stop.at) / speed
        times.append(reached_s)
        points.append(stop.at)
        stay_s = dice.uniform(*stop.stay_s)
        if stop.redeems:
            redeem.append(reached_s + stay_s / 2)
        if stay_s > 0:
            times.append(reached_s + stay_s)
            points.append(stop.at)
    return Walk(tuple(times), tuple(points), tuple(redeem))


def populate(plan: FloorPlan, seed: int) -> list[Person]:
    """Everybody who comes, in the same way for the same seed."""
    dice = random.Random(seed)
    habits = {habit.id: habit for habit in plan.habit}
    people: list[Person] = []
    for crowd in plan.crowd:
        for number in range(crowd.count):
            walk = plan_walk(habits[crowd.habit], _start_s(crowd, number), dice)
            people.append(Person(f"{crowd.who}-{len(people) + 1}", crowd.who, walk, crowd.advert_ms))
    return people


def _start_s(crowd: Crowd, number: int) -> float:
    first_s, last_s = crowd.start_s
    return first_s + (last_s - first_s) * number / max(1, crowd.count - 1)
