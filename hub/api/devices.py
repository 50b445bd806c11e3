"""`/v1/devices`: a phone or tag joins."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from hub.api.checks import Locale, TimeZone
from hub.api.deps import Ctx, Idempotency, first_time, once, scoped, write
from hub.api.problems import refused
from hub.core.grants import Denied
from hub.core.model import ApiKey
from hub.ports import Tx
from hub.usecases.enrol import RANDOM_BYTES, EnrolDevice, enrol_device
from hub.usecases.keys import SECRET_BYTES, renew_key
from wire.messages import BeaconKey
from wire.topics import push_topic

router = APIRouter(tags=["app"])


class EnrolRequest(BaseModel):
    """What the app says about itself."""

    model_config = ConfigDict(extra="forbid")

    locale: Locale = "en"
    tz: TimeZone = "UTC"
    beacon: Annotated[BeaconKey | None, Field(description="a tag's own beacon; null: the hub allots one")] = None
    channel: Annotated[str, Field(pattern=r"^[a-z]{1,16}$", description="how a push reaches it")] = "mqtt"
    address: Annotated[str, Field(max_length=4096, description="the channel's token; empty for mqtt")] = ""
    os_permission: Annotated[bool, Field(description="whether the phone's system lets us notify; not consent")] = True
    loyalty_id: Annotated[str | None, Field(min_length=1, max_length=128)] = None


class EnrolAnswer(BaseModel):
    """The new device and the key that speaks for it, shown this once."""

    device: str
    profile: str
    key: str
    beacon: BeaconKey
    push_topic: str


@router.post("/v1/devices", status_code=201, response_model=EnrolAnswer)
async def enrol(
    asked: EnrolRequest,
    ctx: Ctx,
    key: Annotated[ApiKey, Depends(scoped("app", "staff"))],
    response: Response,
    idempotency: Idempotency = None,
) -> dict[str, Any]:
    """Enrol a device. With a phone's own key it is a further device of the same person.

    A repeat with the same `Idempotency-Key` gives the same device with a fresh key: the first is kept nowhere.
    """
    random = ctx.random_bytes(RANDOM_BYTES)
    unique = once(key, idempotency, asked.model_dump(mode="json"))

    def command(tx: Tx) -> dict[str, Any]:
        text = ""

        def act() -> dict[str, Any]:
            nonlocal text
            wanted = EnrolDevice(
                asked.locale, asked.tz, asked.beacon, asked.channel, asked.address,
                asked.os_permission, asked.loyalty_id, key.profile,
            )  # fmt: skip
            done = enrol_device(tx, wanted, ctx.rules, ctx.prefix, random, ctx.clock.now_ms(), ctx.new_id)
            if isinstance(done, Denied):
                raise refused(done)
            text = done.key.text
            return {
                "device": done.device,
                "profile": done.profile,
                "key_id": done.key.key,
                "beacon": asdict(done.beacon),
                "push_topic": push_topic(done.device),
            }

        status, body, repeated = first_time(tx, ctx, unique, 201, act)
        if repeated:
            fresh = renew_key(tx, ctx.rules.tenant, str(body["key_id"]), random[-SECRET_BYTES:])
            text = fresh.text if fresh is not None else ""
        response.status_code = status
        return {**{name: value for name, value in body.items() if name != "key_id"}, "key": text}

    return await write(ctx, command)
