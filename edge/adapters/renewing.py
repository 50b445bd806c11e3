"""Keeps an enrolled edge's certificate young while the edge runs."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from edge.adapters.credentials import Credentials
from edge.adapters.enrolment import HubRefused, renew
from edge.config import EdgeConfig
from edge.core.renewal import is_due, pause_s
from wire.errors import BadConfig, BadMessage

log = logging.getLogger("edge")


def renews(config: EdgeConfig) -> bool:
    """Whether this edge was enrolled here, and so renews its certificate itself."""
    mine = Credentials(config.state_dir).certificate_file
    return config.hub_url is not None and config.broker_cert_file == mine


async def keep_young(config: EdgeConfig, wall_ms: Callable[[], int], unit: Callable[[], float]) -> None:
    """Look at the certificate now and then, and renew it in its last third; until cancelled. Never raises.

    A renewed certificate is used from the next connection on.
    """
    while True:
        await asyncio.to_thread(renew_if_due, config, wall_ms())
        await asyncio.sleep(pause_s(unit()))


def renew_if_due(config: EdgeConfig, now_ms: int) -> bool:
    """Renew in the last third; whether it did. Blocks for as long as the hub takes; failures are logged."""
    credentials = Credentials(config.state_dir)
    try:
        life = credentials.life()
        if not is_due(life.not_before_ms, life.not_after_ms, now_ms):
            return False
        renew(credentials, config.edge, config.store, config.hub_url or "")
        until_ms = credentials.life().not_after_ms
    except (HubRefused, BadMessage, BadConfig) as exc:
        log.warning("certificate not renewed", extra={"fields": {"reason": str(exc)}})
        return False
    log.info("certificate renewed", extra={"fields": {"valid_until": _day(until_ms)}})
    return True


def _day(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms // 1000, UTC).date().isoformat()
