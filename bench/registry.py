"""Every benchmark by name. One line each; the function lives in a module of its name."""

from bench import edge, ingest, latency
from bench.measure import Bench
from wire.errors import BadRequest

BENCHES: dict[str, Bench] = {
    "edge": edge.run,
    "ingest": ingest.run,
    "latency": latency.run,
}
"""What can be run."""

NAMES = ("ingest", "edge", "latency", "edge-table", "resolve", "decide", "redeem", "push", "zones", "visits")
"""What there is, or will be once the thing it measures is built."""


def find(name: str) -> Bench:
    """The benchmark of that name.

    Raises:
        BadRequest: there is none, or none yet; the text says which there are.
    """
    ready = ", ".join(one for one in NAMES if one in BENCHES) or "none"
    if name not in NAMES:
        raise BadRequest(f"there is no benchmark {name!r}; there are: {ready}")
    if name not in BENCHES:
        raise BadRequest(f"benchmark {name!r} is not built yet: it comes with what it measures; there are: {ready}")
    return BENCHES[name]
