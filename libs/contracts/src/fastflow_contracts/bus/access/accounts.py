"""The accounts of the bus: one that has the streams, and one for each user, with what passes between them. Pure.

A server publishes an answer on whatever subject the requester names, and does not ask whether the requester may: a
publish on ``ff.trigger.x`` that wants its acknowledgement on ``$KV.ff_runs.run.x.y`` would replace that record. In an
account of its own, an answer reaches only the user itself. What passes between accounts is exactly what ``permissions``
grants, so an answer that looks like a request goes no further than a request of its user.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.permissions import ADMIN, ADMIN_INBOX, DEVICE, User, grant

STREAMS_ACCOUNT: Final = "FASTFLOW"
"""Has the streams and the administrator."""
DEVICES_ACCOUNT: Final = "MQTT"
"""Has the devices on MQTT, and the streams that the server keeps for them.

What a device publishes on ``a/b`` is ``a.b`` here and ``mqtt.a.b`` in the account with the streams. So no topic is a
subject of Fast-Flow's, and a device reads only what devices publish.
"""
FROM_DEVICES: Final = "mqtt.>"
REFUSED_TO_DEVICES: Final = ("$JS.>", "$SYS.>")
"""Subjects of the server itself, in any account."""
NOWHERE: Final = "NOWHERE"
"""An account in which nobody listens.

A server gives an account without streams a default answer to every JetStream request: that it has none. Only an import
of all these requests replaces it, and it leads here, so that the narrow imports alone have an effect.
"""
_JETSTREAM: Final = "$JS.API.>"
_CORE: Final = (subjects.CALLS, subjects.RESULTS, subjects.SYNC, subjects.DRAINS, subjects.BEATS)

Kind = Literal["service", "stream"]
"""``service``: requests go to the exporting account, answers come back. ``stream``: messages come from it."""


class Export(NamedTuple):
    """What an account offers to others."""

    kind: Kind
    subject: str
    accounts: tuple[str, ...]
    has_many_answers: bool = False


class Import(NamedTuple):
    """What an account takes from another."""

    kind: Kind
    subject: str
    account: str
    local: str = ""
    """Subject in the importing account; empty: the same."""


class Account(NamedTuple):
    """One account."""

    name: str
    user: User | str | None
    """The user in it: one of ours, ``ADMIN``, ``DEVICE``, or none."""
    exports: tuple[Export, ...]
    imports: tuple[Import, ...]


class _Flow(NamedTuple):
    """What passes between two accounts."""

    kind: Kind
    subject: str
    exporter: str
    importer: str


def name_of(user: User) -> str:
    """Return the name of the account of *user*."""
    return user.value.upper()


def accounts(*, with_devices: bool = False) -> list[Account]:
    """Return all accounts. *with_devices*: also one for devices on MQTT."""
    flows = tuple(_flows())
    nowhere = f"{NOWHERE}.>"
    users = tuple(name_of(user) for user in User)
    dead_end = Import("service", nowhere, NOWHERE, local=_JETSTREAM)
    devices, from_devices = list[Account](), tuple[Import, ...]()
    if with_devices:
        devices = [Account(DEVICES_ACCOUNT, DEVICE, (Export("stream", ">", (STREAMS_ACCOUNT,)),), ())]
        from_devices = (Import("stream", ">", DEVICES_ACCOUNT, local=FROM_DEVICES),)
    imported = (*_imports(flows, STREAMS_ACCOUNT), *from_devices)
    return [
        Account(NOWHERE, None, (Export("service", nowhere, users),), ()),
        *devices,
        Account(STREAMS_ACCOUNT, ADMIN, _exports(flows, STREAMS_ACCOUNT), imported),
        *(
            Account(name_of(user), user, _exports(flows, name_of(user)), (*_imports(flows, name_of(user)), dead_end))
            for user in User
        ),
    ]


def _exports(flows: Iterable[_Flow], account: str) -> tuple[Export, ...]:
    offered: dict[tuple[Kind, str], list[str]] = {}
    for flow in flows:
        if flow.exporter == account:
            offered.setdefault((flow.kind, flow.subject), []).append(flow.importer)
    return tuple(
        Export(kind, subject, tuple(importers), kind == "service" and _has_many_answers(subject))
        for (kind, subject), importers in offered.items()
    )


def _imports(flows: Iterable[_Flow], account: str) -> tuple[Import, ...]:
    return tuple(Import(flow.kind, flow.subject, flow.exporter) for flow in flows if flow.importer == account)


def _flows() -> Iterator[_Flow]:
    for user in User:
        may = grant(user)
        mine = name_of(user)
        for subject in dict.fromkeys(may.publish):
            if not _is_core(subject):
                yield _Flow("service", subject, STREAMS_ACCOUNT, mine)
                continue
            # Core messages go straight from account to account: an answer must find its way back by its subject.
            for listener in User:
                if listener is not user and any(_overlap(subject, heard) for heard in grant(listener).subscribe):
                    yield _Flow("stream", subject, mine, name_of(listener))
            if _overlap(subject, f"{ADMIN_INBOX}.>"):
                yield _Flow("stream", subject, mine, STREAMS_ACCOUNT)
        for subject in dict.fromkeys(may.subscribe):
            if not subject.startswith(subjects.INBOX) and subject not in may.publish:
                yield _Flow("stream", subject, STREAMS_ACCOUNT, mine)


def _is_core(subject: str) -> bool:
    """Return whether *subject* is of messages between users, which no stream keeps."""
    return subject in _CORE or subject.startswith(subjects.INBOX)


def _has_many_answers(subject: str) -> bool:
    """Return whether a request on *subject* is answered by many messages. The server forgets it with its inbox."""
    api = subject.removeprefix("$JS.API.")
    return api.startswith("CONSUMER.MSG.NEXT.") or (api.startswith("DIRECT.GET.") and api.count(".") == 2)


def _overlap(one: str, other: str) -> bool:
    """Return whether a subject can match both filters."""
    for mine, theirs in zip(one.split("."), other.split("."), strict=False):
        if ">" in (mine, theirs):
            return True
        if mine != theirs and "*" not in (mine, theirs):
            return False
    return one.count(".") == other.count(".")
