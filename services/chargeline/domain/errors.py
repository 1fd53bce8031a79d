"""Every error of ours, in one tree.

    ChargelineError
    ├── InvalidEvent        a record that cannot be billed: dead letter with its code, then on
    ├── Refused             what a person asked for cannot be done: says what and what to do; has a stable code
    ├── TransientError      raised by adapters: nothing happened, wait, the same again, never past it
    │   ├── OutcomePending  a transaction is still open: its outcome will be known soon
    │   └── ChannelAway     an alert channel takes nothing now: the same message again, later
    ├── Undeliverable       an alert channel refuses a message for good: park it, then on
    ├── AbortRequired       the open transaction cannot commit: abort, seek back, recover
    ├── Fenced              another process owns this slot or partition: write nothing more
    ├── StateIncomplete     stored state is damaged: fold it again from `charges`
    └── Fault               what must stay true does not hold: stop, nothing committed, a person must look
        └── LogTruncated    the log no longer holds what is needed

Only the owner of a service's loop decides what follows from an error; nobody else catches them.
"""


class ChargelineError(Exception):
    """Root of the tree."""


class InvalidEvent(ChargelineError):
    """A record that cannot be billed. `code` is one of spec/rating.md 14."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Refused(ChargelineError):
    """What a person asked for cannot be done. `code` is stable, UPPER_SNAKE; the text says what to do next."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class TransientError(ChargelineError):
    """The system is away or busy. Nothing happened; the same call may be made again."""


class OutcomePending(TransientError):
    """A transaction that decides the answer is still open."""


class ChannelAway(TransientError):
    """An alert channel takes nothing now. `retry_after_s`: not before so many seconds, if the channel said so."""

    peer = "channel"

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Undeliverable(ChargelineError):
    """An alert channel refuses a message for good; another attempt would be refused too."""


class AbortRequired(ChargelineError):
    """The open transaction must be aborted; nothing of it is visible."""


class Fenced(ChargelineError):
    """Another process owns this slot or partition."""


class StateIncomplete(ChargelineError):
    """Stored state is damaged or partly gone; `charges` can rebuild it."""


class Fault(ChargelineError):
    """What must stay true does not hold; nothing was committed; the text says what was lost and what to do."""


class LogTruncated(Fault):
    """The log no longer holds the records that are needed."""
