"""People near the edges of a real system, and what must be true of them afterwards."""

import asyncio
import sqlite3
from contextlib import closing

from tests.e2e.system import until

ACCOUNTS = ("committed", "consent_refused", "identity_refused", "quarantined", "lost")


class Crowd:
    """Advertises people to the edges until told to stop; each is near one edge at a time."""

    def __init__(self, system, phones):
        self.system, self.phones, self.near = system, phones, {}
        self.task = None

    def place(self, number, edge):
        self.near[number] = edge

    def leave(self, number):
        self.near.pop(number, None)

    async def talk(self):
        while True:
            for number, edge in list(self.near.items()):
                self.system.radio.say(edge, self.phones[number]["beacon"])
            await asyncio.sleep(0.1)  # the advertising interval, not a wait

    async def __aenter__(self):
        self.task = asyncio.create_task(self.talk())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def present(system, count):
    async def there():
        return (await system.reports())["present"] == count

    await until(there, f"{count} people are present")


async def grants(system, count):
    async def there():
        return sum((await system.reports())["grants"].values()) >= count

    await until(there, f"{count} grants")


async def settled(system):
    """Everybody has left and every edge's outbox is empty: what was published is accounted for."""

    async def done():
        report = await system.reports()
        if report["present"] or any(edge["status"] != "online" for edge in report["edges"]):
            return False
        return all(published(system, edge["edge"]) == edge["upto"] for edge in report["edges"])

    await until(done, "every event is accounted for")


def asked(path, sql):
    """Rows of a SQLite file that a program may be using."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchall()


def outbox(system, edge):
    return system.home / f"{edge}-state" / "outbox.db"


def published(system, edge):
    """Sequences an edge has ever given out, from its outbox file."""
    return asked(outbox(system, edge), "SELECT published FROM state")[0][0]


async def judge(system, people):
    report = await system.reports()
    accounts = report["accounts"]
    assert accounts["upto"] == sum(accounts[part] for part in ACCOUNTS), accounts
    assert accounts["lost"] == accounts["quarantined"] == 0, accounts
    visits = asked(system.home / "hub.db", "SELECT count(*) FROM visit WHERE state <> 'merged' GROUP BY profile, store")
    assert visits == [(1,)] * people, "one visit each, none split"
    assert sum(report["grants"].values()) == people
    assert report["decisions"] == people
    code, found = system.audit()
    assert code == 0, found
