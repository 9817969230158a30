"""Validation of FIX messages against a dictionary: what is wrong first, as reason and tag of a session-level reject.

Two ways lead to the same answer. The fast one, ``_plain``, has one compiled test a field and only says that nothing is
wrong; a message with groups or repeated tags, and one with any fault, goes the slow one, which finds the reason. Order
of faults: place of header and trailer, type of the message, required fields, then header, trailer and body by rising
tag, those that repeat behind the others.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from wire.fix_codec import Garbled, Message, Pairs
from wire.fix_dictionary import ADMIN_TYPES, Dictionary, Field, Member


class RejectReason(IntEnum):
    """Reasons of a session-level reject: SessionRejectReason, field 373."""

    INVALID_TAG = 0
    REQUIRED_TAG_MISSING = 1
    TAG_NOT_DEFINED_FOR_TYPE = 2
    TAG_WITHOUT_VALUE = 4
    VALUE_INCORRECT = 5
    DATA_FORMAT = 6
    COMP_ID = 9
    SENDING_TIME = 10
    INVALID_TYPE = 11
    TAG_REPEATED = 13
    TAG_OUT_OF_ORDER = 14
    GROUP_OUT_OF_ORDER = 15
    GROUP_COUNT = 16


#: Text of each reason, field 58. Programs compare these words, so they are those of QuickFIX.
REASON_TEXTS: Final[Mapping[RejectReason, str]] = {
    RejectReason.INVALID_TAG: "Invalid tag number",
    RejectReason.REQUIRED_TAG_MISSING: "Required tag missing",
    RejectReason.TAG_NOT_DEFINED_FOR_TYPE: "Tag not defined for this message type",
    RejectReason.TAG_WITHOUT_VALUE: "Tag specified without a value",
    RejectReason.VALUE_INCORRECT: "Value is incorrect (out of range) for this tag",
    RejectReason.DATA_FORMAT: "Incorrect data format for value",
    RejectReason.COMP_ID: "CompID problem",
    RejectReason.SENDING_TIME: "SendingTime accuracy problem",
    RejectReason.INVALID_TYPE: "Invalid MsgType",
    RejectReason.TAG_REPEATED: "Tag appears more than once",
    RejectReason.TAG_OUT_OF_ORDER: "Tag specified out of required order",
    RejectReason.GROUP_OUT_OF_ORDER: "Repeating group fields out of order",
    RejectReason.GROUP_COUNT: "Incorrect NumInGroup count for repeating group",
}


class Fault(NamedTuple):
    """A fault of a message. tag: the field; None where no single one is."""

    reason: RejectReason
    tag: int | None = None


Test = Callable[[bytes], object]

_TIME_OF_DAY: Final = rb"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?"
_DATE: Final = rb"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_INT: Final = re.compile(rb"-?\d+").fullmatch
_NUMBER: Final = re.compile(rb"-?(\d+\.?\d*|\.\d+)").fullmatch
_FORMATS: Final[Mapping[str, Test]] = {
    **dict.fromkeys(("INT", "SEQNUM", "LENGTH", "NUMINGROUP", "TAGNUM"), _INT),
    **dict.fromkeys(("PRICE", "QTY", "QUANTITY", "AMT", "FLOAT", "PRICEOFFSET", "PERCENTAGE"), _NUMBER),
    "DAYOFMONTH": re.compile(rb"0?[1-9]|[12]\d|3[01]").fullmatch,
    "CHAR": re.compile(rb".").fullmatch,
    "BOOLEAN": re.compile(rb"[YN]").fullmatch,
    **dict.fromkeys(("UTCTIMESTAMP", "TIME"), re.compile(_DATE + b"-" + _TIME_OF_DAY).fullmatch),
    "UTCTIMEONLY": re.compile(_TIME_OF_DAY).fullmatch,
    **dict.fromkeys(("UTCDATE", "UTCDATEONLY", "LOCALMKTDATE", "DATE"), re.compile(_DATE).fullmatch),
}
_MULTIPLE: Final = frozenset(("MULTIPLEVALUESTRING", "MULTIPLESTRINGVALUE", "MULTIPLECHARVALUE"))
_TAG: Final = re.compile(rb"-?\d{1,9}").fullmatch
#: Fields that are judged elsewhere: when the frame is cut, and by the messages that there are.
_FRAMING: Final = frozenset((b"8", b"9", b"10", b"35"))


def _never(_: bytes) -> bool:
    return False


class _FieldTests(NamedTuple):
    format: Test
    value: Test


def _tests(field: Field) -> _FieldTests:
    values = frozenset(value.encode() for value in field.values)
    form = _FORMATS.get(field.kind, len)
    if not values:
        return _FieldTests(form, len)
    if field.kind in _MULTIPLE:
        return _FieldTests(form, lambda value: all(word in values for word in value.split(b" ")))
    return _FieldTests(form, values.__contains__)


def _quick(field: Field, tests: _FieldTests) -> Test:
    """One test for a field instead of two: values of a list have its format already."""
    if field.values:
        return tests.value
    # A number with a sign or a fraction goes the slow way, where it passes.
    return bytes.isdigit if tests.format is _INT or field.kind in ("QTY", "QUANTITY") else tests.format


class _Rules:
    """Rules of one type of message."""

    def __init__(self, dictionary: Dictionary, kind: str, members: Sequence[Member], known: "_Fields") -> None:
        self.tests: dict[bytes, Test] = {}
        self.members = {b"%d" % member.tag: member for member in members}
        around = {b"%d" % member.tag: member for member in (*dictionary.header, *dictionary.trailer)}
        for tag, member in {**self.members, **around}.items():
            own = known.session if tag in around or kind in ADMIN_TYPES else known.application
            if member.members or tag in _LATE_TAGS:
                self.tests[tag] = _never
            elif tag in _FRAMING:
                self.tests[tag] = len
            elif tag in own:
                self.tests[tag] = _quick(*own[tag])
        required = [member for member in (*dictionary.header, *dictionary.trailer, *members) if member.required]
        self.required = frozenset(b"%d" % member.tag for member in required)
        self.required_in_order = sorted(required, key=lambda member: member.tag)
        self.fields = known.session if kind in ADMIN_TYPES else known.application


_LATE_TAGS: Final = frozenset((b"89", b"93"))
_Tested = tuple[Field, _FieldTests]
#: A field of the standard that no message has: any value does, as its place is the fault.
_ANY: Final[_Tested] = (Field(0, "", "STRING"), _FieldTests(len, len))


class _Fields(NamedTuple):
    session: Mapping[bytes, _Tested]
    application: Mapping[bytes, _Tested]


class Validator:
    """Rules of a dictionary, compiled. It has no state: all sessions of a version share one."""

    def __init__(self, dictionary: Dictionary) -> None:
        def compiled(fields: Mapping[int, Field], other_tags: Iterable[int]) -> Mapping[bytes, _Tested]:
            others = dict.fromkeys((b"%d" % tag for tag in other_tags), _ANY)
            return others | {b"%d" % tag: (field, _tests(field)) for tag, field in fields.items()}

        application = session = compiled(dictionary.fields, dictionary.other_tags)
        if dictionary.session_fields:
            session = compiled(dictionary.session_fields, dictionary.other_session_tags)
        self._fields = _Fields(session, application)
        self._header = {b"%d" % member.tag: member for member in dictionary.header}
        self._trailer = {b"%d" % member.tag: member for member in dictionary.trailer}
        self._header_tags = frozenset(self._header)
        self._required_around = [
            *sorted(member.tag for member in dictionary.header if member.required),
            *sorted(member.tag for member in dictionary.trailer if member.required),
        ]
        #: Types of messages that are known and not served: their header alone is judged.
        self.unserved = frozenset(kind.encode() for kind in dictionary.unserved)
        self._rules = {
            kind.encode(): _Rules(dictionary, kind, members, self._fields)
            for kind, members in dictionary.messages.items()
        }

    def __repr__(self) -> str:
        return f"<Validator of {len(self._rules)} types of messages>"

    def fault(self, message: Message) -> Fault | None:
        """The first fault of a message; None: it has none. Raises Garbled where a tag is no number."""
        if message.pairs is None and self._plain(message):
            return None
        return self._find(message)

    def _plain(self, message: Message) -> bool:
        """True if the message has neither a fault nor a group. False says nothing."""
        fields = message.fields
        rules = self._rules.get(fields[b"35"])
        if rules is None or not rules.required <= fields.keys():
            return False
        tests = rules.tests
        try:
            for tag, value in fields.items():
                if not tests[tag](value):
                    return False
        except KeyError:
            return False
        # The first fields of the frame must be all those of the header.
        header = self._header_tags
        return header.isdisjoint(list(fields)[len(header.intersection(fields)) :])

    def _find(self, message: Message) -> Fault | None:
        pairs = message.in_order()
        for tag, _ in pairs:
            if not _TAG(tag):
                raise Garbled("a tag is no number")
        parts = _Parts([], [], [])
        kind = message.msg_type
        rules = self._rules.get(kind)
        misplaced = self._divide(pairs, parts)
        if misplaced is not None:
            return Fault(RejectReason.TAG_OUT_OF_ORDER, misplaced)
        if kind == b"":
            return Fault(RejectReason.TAG_WITHOUT_VALUE, 35)
        if rules is None and kind not in self.unserved:
            return Fault(RejectReason.INVALID_TYPE)
        if rules is None:
            return self._absent(message, self._required_around) or self._faulty(
                parts.header, self._header, self._fields.session
            )
        return self._missing(message, rules) or (
            self._faulty(parts.header, self._header, self._fields.session)
            or self._faulty(parts.trailer, self._trailer, self._fields.session)
            or self._faulty(parts.body, rules.members, rules.fields)
        )

    def _divide(self, pairs: Pairs, parts: "_Parts") -> int | None:
        """Divide the fields into header, body and trailer; the first that is out of place, or None."""
        place, misplaced = 0, None
        for pair in pairs:
            own = 0 if pair[0] in self._header else 2 if pair[0] in self._trailer else 1
            # Hops of the header are a group whose members are no fields of the header by themselves.
            if own == 1 and place == 0 and any(pair[0] in _tags(each.members) for each in self._header.values()):
                own = 0
            if own < place and misplaced is None:
                misplaced = int(pair[0])
            place = max(place, own)
            parts[own].append(pair)
        return misplaced

    def _missing(self, message: Message, rules: _Rules) -> Fault | None:
        if rules.required <= message.fields.keys():
            return None
        own = [member.tag for member in rules.required_in_order if member.tag not in self._required_around]
        return self._absent(message, (*self._required_around, *own))

    @staticmethod
    def _absent(message: Message, required: Sequence[int]) -> Fault | None:
        """The first of the tags that the message does not have."""
        for tag in required:
            if b"%d" % tag not in message.fields:
                return Fault(RejectReason.REQUIRED_TAG_MISSING, tag)
        return None

    def _faulty(self, pairs: Pairs, members: Mapping[bytes, Member], fields: Mapping[bytes, _Tested]) -> Fault | None:
        """The first fault among the fields of a part, by rising tag; groups are taken out of it first."""
        single: Pairs = []
        faults: dict[int, Fault] = {}
        at = 0
        while at < len(pairs):
            tag, value = pairs[at]
            single.append((tag, value))
            member = members.get(tag)
            at += 1
            if member is not None and member.members and value:
                at, fault = self._group(pairs, at, member, value, fields)
                if fault is not None:
                    faults.setdefault(member.tag, fault)
        times = Counter(tag for tag, _ in single)
        repeated = {tag for tag in times if times[tag] > 1 and tag in members}
        # A field that repeats comes last: it may be of a group that does not belong here.
        for tag, value in sorted(single, key=lambda pair: (pair[0] in repeated, int(pair[0]))):
            fault = Fault(RejectReason.TAG_REPEATED, int(tag)) if tag in repeated else _field_fault(tag, value, fields)
            if fault is None and tag not in members:
                fault = Fault(RejectReason.TAG_NOT_DEFINED_FOR_TYPE, int(tag))
            fault = fault or faults.get(int(tag))
            if fault is not None:
                return fault
        return None

    def _group(
        self, pairs: Pairs, at: int, group: Member, count: bytes, fields: Mapping[bytes, _Tested]
    ) -> tuple[int, Fault | None]:
        """The end of a repeating group that begins at ``at``, and what is wrong with it."""
        own = {b"%d" % member.tag: member for member in group.members}
        first = b"%d" % group.members[0].tag
        instances: list[Pairs] = []
        fault: Fault | None = None
        while at < len(pairs) and pairs[at][0] in own:
            tag, value = pairs[at]
            if tag == first:
                instances.append([])
            elif not instances:
                fault = fault or Fault(RejectReason.GROUP_OUT_OF_ORDER, group.tag)
                instances.append([])
            instances[-1].append((tag, value))
            at += 1
            if own[tag].members:
                at, inner = self._group(pairs, at, own[tag], value, fields)
                fault = fault or inner
        if fault is not None or not _INT(count):
            return at, fault
        if len(count) > 9 or len(instances) != int(count):
            return at, Fault(RejectReason.GROUP_COUNT, group.tag)
        for instance in instances:
            fault = fault or _instance_fault(instance, group, fields)
        return at, fault


class _Parts(NamedTuple):
    header: Pairs
    body: Pairs
    trailer: Pairs


def _tags(members: Sequence[Member]) -> set[bytes]:
    return {b"%d" % member.tag for member in members}


def _field_fault(tag: bytes, value: bytes, fields: Mapping[bytes, _Tested]) -> Fault | None:
    if not value:
        return Fault(RejectReason.TAG_WITHOUT_VALUE, int(tag))
    if tag in _FRAMING:
        return None
    known = fields.get(tag)
    if known is None:
        return Fault(RejectReason.INVALID_TAG, int(tag))
    tests = known[1]
    if not tests.format(value):
        return Fault(RejectReason.DATA_FORMAT, int(tag))
    if not tests.value(value):
        return Fault(RejectReason.VALUE_INCORRECT, int(tag))
    return None


def _instance_fault(instance: Pairs, group: Member, fields: Mapping[bytes, _Tested]) -> Fault | None:
    seen: set[bytes] = set()
    for tag, value in instance:
        if tag in seen:
            return Fault(RejectReason.TAG_REPEATED, int(tag))
        seen.add(tag)
        fault = _field_fault(tag, value, fields)
        if fault is not None:
            return fault
    for member in group.members:
        if member.required and b"%d" % member.tag not in seen:
            return Fault(RejectReason.REQUIRED_TAG_MISSING, member.tag)
    return None
