"""Requests of the operator, which ``node.operator.admin`` receives.

A request is a JSON object with ``do`` and the fields of that name, and no others. Market commands come in scenario
notation and go through the sequencer like those of clients. Only the sequencer sets the clock. An EXTEND row at the end
is refused, since it would apply to the next command of a trader.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from engine.names import ID_CHARACTERS
from engine.records import COMMAND, CommandKind, EventKind
from engine.row_bytes import event_values
from gateway.passwords import (
    COST_DEFAULT,
    COST_GENERATED,
    FOLDED_CHARACTERS_MAX,
    GENERATED_CHARACTERS,
    PasswordError,
    credential_row,
    generated,
)
from node.core.control import NodeControl, OperationRefused, OperationUnfinished, RefusedForNow, SubmissionResult
from node.core.halts_in_journal import is_list
from node.operator.defaults import with_defaults
from node.operator.definitions import (
    existing_users,
    not_there,
    past_schedules,
    refused_definitions,
    unknown_names,
)
from node.operator.link import FOR_NOW, UNFINISHED
from node.programs.logs import Log
from notation.objects import event_objects
from notation.parse import RAW, Line, ScenarioError, parse
from notation.print import print_event_values
from notation.translate import KIND_BYTE, Batch, Translator

DEPTH_MAX: Final = 200
#: Commands of one request at most: reading and printing them must not delay the market.
COMMANDS_MAX: Final = 1_000
#: Events of one answer at most, for the same reason.
EVENTS_MAX: Final = 1_000

#: Schedules of one answer at most.
_SCHEDULES_MAX: Final = 400

#: Sentences on names that exist already in one answer at most.
_EXISTING_MAX: Final = 50

#: Bytes of a list in an answer at most; the rest is counted, or requested again.
_LIST_BYTES_MAX: Final = 48 * 1024
_REFUSALS: Final = (int(EventKind.REJECTED), int(EventKind.CANCEL_REJECTED))
_UNTOUCHED: Final = frozenset(
    map(int, (CommandKind.CLOCK, CommandKind.EXTEND, CommandKind.EPOCH, CommandKind.CLOCK_JUMP))
)
#: Kinds of lines whose rows may have the list of halts that the node itself keeps.
_MAY_LIST: Final = frozenset((int(CommandKind.MEMBERS), int(CommandKind.INDEX), RAW))
_NAME: Final = "commands"
_TYPES: Final = {str: "text", int: "whole number", bool: "true or false"}

Request = dict[str, Any]
Answer = dict[str, Any]


class _Operation(NamedTuple):
    """One kind of request. fields: name to type of each field; those in ``optional`` may be left out."""

    run: Callable[[Request], Awaitable[Answer]]
    fields: dict[str, type]
    optional: frozenset[str] = frozenset()


class Operations:
    """Requests that an operator may make of ``node``.

    metrics: the text of the Prometheus endpoint. password_cost: of new passwords' hashes, log2 of scrypt's N.
    password_characters_max: what a protocol of the node carries. default_limits: of new participants, in the words of
    ``limits``.
    """

    def __init__(
        self,
        node: NodeControl,
        log: Log,
        *,
        metrics: Callable[[], bytes] | None = None,
        password_cost: int = COST_DEFAULT,
        password_characters_max: int = FOLDED_CHARACTERS_MAX,
        default_limits: str = "",
    ) -> None:
        self._node = node
        self._log = log
        self._metrics = metrics
        self._password_cost = password_cost
        self._password_characters_max = password_characters_max
        self._default_limits = default_limits
        # One thread: hashing is slow by design, and must leave the processors to the market.
        self._hasher = ThreadPoolExecutor(1, "passwords")
        self._operations = {
            "commands": _Operation(self._commands, {"text": str, "objects": bool}, frozenset({"objects"})),
            "status": _Operation(self._status, {}),
            "workings": _Operation(self._workings, {}),
            "sessions": _Operation(self._sessions, {"from": int}, frozenset({"from"})),
            "account": _Operation(self._account, {"participant": str, "from": int}, frozenset({"from"})),
            "books": _Operation(self._books, {"symbol": str, "depth": int}, frozenset({"symbol", "depth"})),
            "schedules": _Operation(self._schedules, {"from": int}, frozenset({"from"})),
            "checkpoint": _Operation(self._checkpoint, {}),
            "roll": _Operation(self._roll, {}),
            "accept_clock": _Operation(self._accept_clock, {}),
            "pair": _Operation(self._pair, {}),
            "switchover": _Operation(self._switchover, {}),
            "promotion": _Operation(self._promotion, {}),
            "promote": _Operation(self._promote, {"reason": str}),
            "drain": _Operation(self._drain, {}),
            "shutdown": _Operation(self._shutdown, {}),
            "disconnect": _Operation(self._disconnect, {"user": str}),
            "password": _Operation(
                self._password, {"user": str, "password": str, "objects": bool}, frozenset({"objects"})
            ),
            "generated_password": _Operation(
                self._generated_password, {"user": str, "objects": bool}, frozenset({"objects"})
            ),
            "metrics": _Operation(self._metrics_text, {}),
        }

    def close(self) -> None:
        """End the thread that hashes."""
        self._hasher.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: object) -> Answer:
        """Answer a request, valid or not: ``{"ok": True, ...}``, or False and the ``error`` in a sentence.

        ``refused`` stands beside the error of a request of which nothing was done yet (``FOR_NOW``), or all but its
        end (``UNFINISHED``).
        """
        try:
            operation, fields = self._understood(request)
            return {"ok": True, **await operation.run(fields)}
        except RefusedForNow as error:
            return _refusal(str(error)) | {"refused": FOR_NOW}
        except OperationUnfinished as error:
            return _refusal(str(error)) | {"refused": UNFINISHED}
        except (OperationRefused, ScenarioError, PasswordError) as error:
            return _refusal(str(error))
        except Exception as error:  # a defect must not end the connection that the operator needs to look into it
            self._log.error("a request of the operator failed", do=_do(request), error=type(error).__name__)
            return _refusal(f"{_do(request)} failed in the node ({type(error).__name__}), see its log")

    def _understood(self, request: object) -> tuple[_Operation, Request]:
        if not isinstance(request, dict):
            raise OperationRefused('a request is a JSON object, such as {"do": "status"}')
        name = request.get("do")
        if name is None:
            raise OperationRefused(f"the request lacks do; there are {', '.join(self._operations)}")
        if not isinstance(name, str) or name not in self._operations:
            raise OperationRefused(f"there is no operation {_quoted(name)}; there are {', '.join(self._operations)}")
        operation = self._operations[name]
        fields = {key: value for key, value in request.items() if key != "do"}
        for key, value in fields.items():
            wanted = operation.fields.get(key)
            if wanted is None:
                known = ", ".join(operation.fields) or "none"
                raise OperationRefused(f"{name} has no field {_quoted(key)}; its fields are {known}")
            if type(value) is not wanted:  # exactly: True is an int to isinstance
                raise OperationRefused(f"{key} of {name} must be a {_TYPES[wanted]}")
        for key in operation.fields:
            if key not in fields and key not in operation.optional:
                raise OperationRefused(f"{name} lacks {key}; give it")
        return operation, fields

    async def _commands(self, request: Request) -> Answer:
        participants = self._node.directory().participants
        given = _lines(request["text"], participants)
        lines, added = with_defaults(given, self._default_limits, participants)
        words = Counter(line.text.split(maxsplit=1)[0] for line in lines)
        events = _Events(as_objects=request.get("objects", False))
        # The sequencer sets the clock. With market time given, the translator does not begin with the default clock of
        # a file, and a time of day or a relative one counts from now.
        for batch in self._batches(lines):
            events.existing += existing_users(batch.rows, self._node, events.existing_room)
            try:
                done = await self._node.submit(batch.rows)
            except OperationRefused as error:
                if not events.seq:
                    raise
                raise OperationRefused(
                    f"{error}; the commands before it were done, up to command {events.seq:,}"
                ) from None
            events.take(done, self._node)
        result = events.answer()
        self._log.info("the operator sent commands", words=dict(words), seq=events.seq, rejected=result["rejected"])
        return {"commands": len(given), **result} | ({"added": added} if added else {})

    def _batches(self, lines: list[Line]) -> Iterator[Batch]:
        """Rows of the lines, as many at once as a request may have lines: one line may stand for all participants."""
        for first in range(0, len(lines), 2 * COMMANDS_MAX):
            part = lines[first : first + 2 * COMMANDS_MAX]
            translator = Translator(part, replace(self._node.directory(), now_ns=self._node.market_time_ns()), _NAME)
            while (batch := translator.next_batch(self._node.directory())) is not None:
                yield batch

    async def _password(self, request: Request) -> Answer:
        return await self._set_password(
            request, request["password"], self._password_cost, self._password_characters_max
        )

    async def _generated_password(self, request: Request) -> Answer:
        """Draw the password here: what is stored at a low cost is never one that somebody chose."""
        password = generated()
        return {"password": password, **await self._set_password(request, password, COST_GENERATED)}

    async def _set_password(
        self, request: Request, password: str, cost: int, characters_max: int = GENERATED_CHARACTERS
    ) -> Answer:
        user = request["user"].upper()
        if not self._node.has_user(user):
            raise OperationRefused(f"there is no user {_quoted(request['user'])}; add it first")
        hashed = asyncio.get_running_loop().run_in_executor(
            self._hasher, credential_row, user, password, cost, characters_max
        )
        events = _Events(as_objects=request.get("objects", False))
        events.take(await self._node.submit(await hashed), self._node)
        self._log.info("the operator set a password", user=user, seq=events.seq)
        return events.answer()

    async def _status(self, _request: Request) -> Answer:
        return {"status": dict(self._node.status())}

    async def _workings(self, _request: Request) -> Answer:
        return {"workings": self._node.workings()}

    async def _sessions(self, request: Request) -> Answer:
        return _fitting("sessions", self._node.sessions(), request)

    async def _account(self, request: Request) -> Answer:
        """Open orders, positions and limits of a participant, with as many instruments as fit."""
        participant = request["participant"]
        known = self._node.directory().participants
        if participant not in known:
            raise OperationRefused(not_there("participant", _quoted(participant), known))
        whole, instruments = self._node.account(participant)
        return {"account": whole, **_fitting("instruments", instruments, request)}

    async def _books(self, request: Request) -> Answer:
        """Book of a symbol; without a symbol, the list of symbols."""
        if "symbol" not in request:
            symbols = list(self._node.directory().symbols)
            shown = symbols[: _LIST_BYTES_MAX // 12]
            return {"symbols": shown, "total": len(symbols)}
        depth = request.get("depth", 10)
        if not 1 <= depth <= DEPTH_MAX:
            raise OperationRefused(f"depth is {str(depth)[:20]}; give 1 to {DEPTH_MAX}")
        symbol = request["symbol"]
        symbols_known = self._node.directory().symbols
        if symbol not in symbols_known:
            raise OperationRefused(not_there("instrument", _quoted(symbol), symbols_known))
        return {"book": self._node.book(symbol, depth)}

    async def _schedules(self, request: Request) -> Answer:
        """Phases to come by schedules, as many as fit; ``next``: number of the first of the rest."""
        first = max(request.get("from", 0), 0)
        found = self._node.schedules(first, _SCHEDULES_MAX + 1)
        rest = {"next": first + _SCHEDULES_MAX} if len(found) > _SCHEDULES_MAX else {}
        return {"schedules": found[:_SCHEDULES_MAX], **rest}

    async def _checkpoint(self, _request: Request) -> Answer:
        made = await self._node.checkpoint()
        self._log.info("the operator wrote a checkpoint", **made)
        return {"checkpoint": made}

    async def _roll(self, _request: Request) -> Answer:
        begun = await self._node.roll()
        self._log.info("the operator had a new slice begun", **begun)
        return {"roll": begun}

    async def _accept_clock(self, _request: Request) -> Answer:
        self._node.accept_clock()
        self._log.warning("the operator accepted the clock")
        return {}

    async def _pair(self, _request: Request) -> Answer:
        return {"pair": self._node.pair_status()}

    async def _switchover(self, _request: Request) -> Answer:
        self._log.info("the operator asked for a switchover")
        try:
            primary = await self._node.switch_over()
        except OperationUnfinished as unfinished:
            self._log.error("the operator handed over the reign, and nobody took it", why=str(unfinished))
            raise
        except OperationRefused as refused:
            self._log.warning("the operator was refused a switchover", why=str(refused))
            raise
        self._log.warning("the operator handed over the reign", primary=primary)
        return {"switchover": {"primary": primary}}

    async def _promotion(self, _request: Request) -> Answer:
        return {"promotion": await self._node.survey_promotion()}

    async def _promote(self, request: Request) -> Answer:
        return {"promote": await self._node.promote(request["reason"])}

    async def _drain(self, _request: Request) -> Answer:
        self._log.warning("the operator drains the node")
        await self._node.drain()
        return {}

    async def _shutdown(self, _request: Request) -> Answer:
        self._log.warning("the operator shuts the node down")
        await self._node.shutdown()
        return {}

    async def _disconnect(self, request: Request) -> Answer:
        user = request["user"].upper()
        ended = bool(user) and self._node.disconnect(user, "the operator ended the connection")
        self._log.warning("the operator disconnects a user", user=user, connected=ended)
        return {"disconnected": ended}

    async def _metrics_text(self, _request: Request) -> Answer:
        if self._metrics is None:
            raise OperationRefused("this node has no metrics; start it with --metrics-port")
        return {"metrics": self._metrics().decode()}


class _Events:
    """Events of commands as lines or as objects (docs/json), of bounded size; further ones are counted.

    Objects lack null keys, which would take most of the room.
    """

    def __init__(self, *, as_objects: bool = False) -> None:
        self.seq = 0
        #: Sentences on names that existed before their definition or are unknown, on values out of bounds, and on times
        #: that had passed.
        self.existing: list[str] = []
        self._as_objects = as_objects
        self._events: list[str] | list[Answer] = []
        self._bytes = 0
        self._left_out = 0
        self._rejected = 0

    @property
    def existing_room(self) -> int:
        """Number of further such sentences that fit the answer."""
        return _EXISTING_MAX - len(self.existing)

    def take(self, done: SubmissionResult, node: NodeControl) -> None:
        """Add the events of one submission, with names of the directory after it."""
        self.seq = done.last_seq
        directory = node.directory()
        self.existing += refused_definitions(done, node, self.existing_room)
        self.existing += unknown_names(done, directory, self.existing_room)
        self.existing += past_schedules(done, directory.now_ns, self.existing_room)
        self._rejected += int(np.isin(done.events["kind"], _REFUSALS).sum())
        events = done.events[: EVENTS_MAX - len(self._events)]
        result: list[Any] = [print_event_values(values, directory) for values in event_values(events)]
        if self._as_objects:
            # The commands of one submission have one time stamp: the clock after them.
            objects = event_objects(events, directory, np.full(len(events), directory.now_ns))
            result = [{key: value for key, value in each.items() if value is not None} for each in objects]
        shown = 0
        for each in result:
            self._bytes += len(json.dumps(each)) + 2
            if self._bytes > _LIST_BYTES_MAX:
                break
            self._events.append(each)
            shown += 1
        self._left_out += len(done.events) - shown

    def answer(self) -> Answer:
        """Answer: seq of the last command; rejected: number of rejects; left_out: number of events that do not fit."""
        result: Answer = {"events": self._events, "seq": self.seq, "rejected": self._rejected}
        if self.existing:
            result["existing"] = self.existing
        return result | ({"left_out": self._left_out} if self._left_out else {})


def _lines(text: str, participants: Sequence[str]) -> list[Line]:
    """Parse the commands of a text. Raises ScenarioError, and OperationRefused for what only the sequencer may do."""
    if text.count("\n") > COMMANDS_MAX:
        raise OperationRefused(f"the text has more than {COMMANDS_MAX:,} lines; send them in several requests")
    lines = parse(for_each(text, participants), _NAME)
    if not lines:
        raise OperationRefused("there is no command in the text; write one a line, such as: phase XYZ continuous")
    for line in lines:
        if line.expected:
            raise OperationRefused(f"{_NAME}:{line.number}: an expected event follows; give commands only")
        if line.kind in (CommandKind.CLOCK_JUMP, CommandKind.EPOCH):
            word = CommandKind(line.kind).name.lower()
            raise OperationRefused(f"{_NAME}:{line.number}: {word} is for the node itself; leave it out")
        if line.kind in _MAY_LIST and is_list(np.frombuffer(line.before + line.row, COMMAND)).any():
            raise OperationRefused(
                f"{_NAME}:{line.number}: members halted is for the node itself, which lists its halts so; leave it out"
            )
        if line.kind == CommandKind.CLOCK:
            raise OperationRefused(
                f"{_NAME}:{line.number}: at sets the clock, which only the sequencer may do; leave it out"
            )
        if line.kind == RAW and line.row[KIND_BYTE] in _UNTOUCHED:
            word = CommandKind(line.row[KIND_BYTE]).name
            raise OperationRefused(f"{_NAME}:{line.number}: a raw {word} row is for the sequencer only; leave it out")
    return lines


def _fitting(name: str, every: Sequence[Mapping[str, Any]], request: Request) -> Answer:
    """Part of a list that fits an answer, from ``from`` on; ``next``: index of the first item of the rest."""
    first = max(request.get("from", 0), 0)
    shown: list[Mapping[str, Any]] = []
    size = 0
    for each in every[first:]:
        size += sum(len(key) + 6 * len(str(value)) + 8 for key, value in each.items())
        if size > _LIST_BYTES_MAX and shown:
            return {name: shown, "total": len(every), "next": first + len(shown)}
        shown.append(each)
    return {name: shown, "total": len(every)}


def for_each(text: str, participants: Sequence[str]) -> str:
    r"""Commands in which ``mass_cancel *`` stands as one of each participant, as the journal has them.

    >>> for_each("halt X\nmass_cancel * symbol=X", ["ALPHA", "BETA"])
    'halt X\nmass_cancel ALPHA symbol=X\nmass_cancel BETA symbol=X'
    """
    if "*" not in text:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        words = line.split()
        if words[:2] == ["mass_cancel", "*"]:
            lines += [" ".join(("mass_cancel", name, *words[2:])) for name in participants]
        else:
            lines.append(line)
    return "\n".join(lines)


def _refusal(sentence: str) -> Answer:
    return {"ok": False, "error": sentence.rstrip(".") + "."}


def _do(request: object) -> str:
    name = request.get("do") if isinstance(request, dict) else None
    return _quoted(name).strip("'")


def _quoted(value: object) -> str:
    """A value of a request, quoted and shortened for a message."""
    text = value if isinstance(value, str) else str(value)[:40]
    if 0 < len(text) <= 20 and ID_CHARACTERS.issuperset(text.replace("_", "").replace(" ", "")):
        return text
    return ascii(text[:40])
