"""Every error doorchime raises on purpose.

    DoorchimeError
    ├── RemoteFault            their fault: count, log once per source, quarantine, go on
    │   ├── BadFrame           bytes from the air that are not the iBeacon they claim to be
    │   ├── BadTopic           an MQTT topic outside the grammar of wire/topics.py
    │   ├── BadMessage         an MQTT payload that does not follow wire/messages.py
    │   ├── BadTrace           a line of a recording that cannot be read
    │   ├── BadCapture         a byte of another program's capture from which on it cannot be read
    │   └── BadRequest         an API call that cannot be served as asked
    └── LocalFault             our fault: say what to do and stop
        ├── BadConfig          a setting, a file or a credential that cannot be used
        ├── StoreFault         the store cannot commit, or its schema is not ours
        └── BrokenInvariant    a promise of this program was found broken

Expected outcomes (a push refused, a token gone, a redemption denied) are values, never errors.
"""


class DoorchimeError(Exception):
    """Base of everything below."""


class RemoteFault(DoorchimeError):
    """Bad input from outside: drop it, count it, go on."""


class BadFrame(RemoteFault):
    """An advertisement that is not the iBeacon it claims to be."""


class BadTopic(RemoteFault):
    """A topic outside the grammar."""


class BadMessage(RemoteFault):
    """A payload that does not follow its model."""


class BadTrace(RemoteFault):
    """A line of a trace that cannot be read; `line_no` counts from 1."""

    def __init__(self, line_no: int, reason: str) -> None:
        super().__init__(f"line {line_no}: {reason}")
        self.line_no = line_no


class BadCapture(RemoteFault):
    """A capture that cannot be read any further; `offset` is the byte of the unpacked file where that begins."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"byte {offset}: {reason}")
        self.offset = offset


class BadRequest(RemoteFault):
    """An API call that cannot be served as asked."""


class LocalFault(DoorchimeError):
    """Our own fault: stop with a line that says what to do."""


class BadConfig(LocalFault):
    """A setting, file or credential that cannot be used."""


class StoreFault(LocalFault):
    """The store cannot commit, or its schema is not ours."""


class BrokenInvariant(LocalFault):
    """A promise of this program was found broken."""
