"""Notices of a primary on its copies, and its warnings while no node could take over. Pure: the shell looks often.

A copy that follows, a standby that is in sync, and a primary that goes on alone are each told once, as they come about.
"""

from typing import Final, Literal, NamedTuple

from replication.arbiter import name_of
from replication.copy_connection import Copy
from replication.primary import Primary

_ALONE_THEN = (
    "this node's disk is the only one that is certain to have every order, and no node takes over until a standby is "
    "in sync"
)
#: Time after which a refusal of the same copy for the same reason is told again.
_REFUSED_AGAIN_NS: Final = 60_000_000_000
_REFUSALS_MAX: Final = 64
#: A primary that was never in sync with a standby answers alone, whatever the setting (docs/GUARANTEES.md).
_STOP_BEGINS: Final = "--alone stop begins once a standby is in sync; until then it answers alone"


class Notice(NamedTuple):
    """A line for the log."""

    level: Literal["info", "warning"]
    event: str
    fields: dict[str, str | int]


class CopyNotices:
    """Notices on the copies of one reign."""

    def __init__(self, primary: Primary) -> None:
        self._primary = primary
        #: Connections that were told, each with the last word on it: in sync or not.
        self._told: dict[Copy, bool] = {}
        self._was_alone = False
        self._awaited: list[str] = []
        #: When each refusal was told last, by name and reason.
        self._refusals: dict[tuple[str, str], int] = {}

    def of_end(self, copy: Copy, now_ns: int) -> Notice | None:
        """Notice on a connection that has ended; None where there is nothing to tell. ``now_ns``: monotonic.

        A copy that was refused tries again every moment, which is told once a minute.
        """
        subject = {"name": copy.name, "role": copy.role} if copy.name else {}
        if copy.was_live:
            return Notice("warning", "copy left", {**subject, "why": copy.why})
        if not copy.has_greeted:
            return None
        if not copy.is_refused:
            return Notice("info", "copy sent away", {**subject, "why": copy.why})
        told_ns = self._refusals.get((copy.name, copy.why))
        if told_ns is not None and now_ns - told_ns < _REFUSED_AGAIN_NS:
            return None
        self._refusals[copy.name, copy.why] = now_ns
        if len(self._refusals) > _REFUSALS_MAX:
            del self._refusals[next(iter(self._refusals))]
        return Notice("warning", "copy refused", {**subject, "why": copy.why})

    def look(self) -> list[Notice]:
        """Notices on what has changed since the last look."""
        return [*self._of_copies(), *self._of_record()]

    def warnings(self) -> list[str]:
        """Sentences for the operator while no node could take over at once."""
        own = self._primary.identity.name
        if self._is_alone:
            sentence = (
                f"{own} is alone: no standby is in sync, so its disk is the only complete one and no node can take over"
            )
            return [f"{sentence}; {_STOP_BEGINS}" if self._stops_alone else sentence]
        return [
            f"{name} is not connected, and answers wait for it (--alone stop); start {name}" for name in self._lost()
        ]

    @property
    def _is_alone(self) -> bool:
        primary = self._primary
        alone = {primary.member}  # a request may be under way that changes the acknowledged command alone
        return primary.settings.takes_over and primary.recorded == alone and primary.asked <= alone

    @property
    def _stops_alone(self) -> bool:
        return self._primary.settings.alone == "stop"

    def _lost(self) -> list[str]:
        """Standbys that answers wait for, by the setting, and that are not connected."""
        primary = self._primary
        if not self._stops_alone or not primary.settings.takes_over:
            return []
        there = {copy.member for copy in primary.copies if copy.state == "live" and copy.role == "standby"}
        return sorted(map(name_of, primary.recorded - there - {primary.member}))

    def _of_copies(self) -> list[Notice]:
        found = []
        live = [copy for copy in self._primary.copies if copy.state == "live"]
        for copy in live:
            subject = {"name": copy.name, "role": copy.role}
            if copy not in self._told:
                self._told[copy] = False
                found.append(Notice("info", "copy follows", {**subject, "from_seq": copy.received_seq + 1}))
            synced = bool(copy.synced) and copy.role == "standby"
            if synced != self._told[copy]:
                self._told[copy] = synced
                if synced:
                    found.append(Notice("info", "standby in sync", {**subject, "seq": copy.received_seq}))
                else:
                    then = "it does not take over until it is in sync again"
                    found.append(Notice("warning", "standby no longer in sync", {**subject, "then": then}))
        if len(self._told) > len(live):
            self._told = {copy: self._told[copy] for copy in live}
        return found

    def _of_record(self) -> list[Notice]:
        found = []
        alone = self._is_alone
        if alone and not self._was_alone:
            why = "no standby is in sync, and the arbiter has recorded it"
            then = f"{_ALONE_THEN}; {_STOP_BEGINS}" if self._stops_alone else _ALONE_THEN
            found.append(Notice("warning", "the primary is alone", {"why": why, "then": then}))
        self._was_alone = alone
        lost = self._lost()
        for name in lost:
            if name not in self._awaited:
                then = "nothing is answered until it is back, by --alone stop"
                found.append(Notice("warning", "answers wait for a standby", {"name": name, "then": then}))
        self._awaited = lost
        return found
