"""The dictionaries of what this exchange itself speaks: FIX 4.2, 4.4 and 5.0 SP2, the session and order entry.

Tables in a short notation, so that a running exchange needs no file of others. A field is number, name, type and its
values. A message is its members, ``!`` behind those it must have, and ``n(...)`` a group. A type of the standard that
is not served is known by name alone: it gets a business reject and no reject of the session. A field of the standard
that no message takes is known by number alone: its reject says that it is not of this message. A test holds these
tables against QuickFIX's dictionaries.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from string import ascii_letters, ascii_uppercase, digits
from typing import Final

from wire.fix_dictionary import ADMIN_TYPES, Dictionary, Field, Member

_FIELDS: Final = """
1 Account STRING
6 AvgPx PRICE
7 BeginSeqNo SEQNUM
8 BeginString STRING
9 BodyLength LENGTH
10 CheckSum STRING
11 ClOrdID STRING
14 CumQty QTY
15 Currency CURRENCY
16 EndSeqNo SEQNUM
17 ExecID STRING
18 ExecInst MULTIPLECHARVALUE
20 ExecTransType CHAR 0 1 2 3
21 HandlInst CHAR 1 2 3
22 SecurityIDSource STRING
31 LastPx PRICE
32 LastQty QTY
34 MsgSeqNum SEQNUM
35 MsgType STRING
36 NewSeqNo SEQNUM
37 OrderID STRING
38 OrderQty QTY
39 OrdStatus CHAR 0 1 2 3 4 5 6 7 8 9 A B C D E
40 OrdType CHAR 1 2 3 4 5 6 7 8 9 A B C D E F G H I J K L M P Q R S
41 OrigClOrdID STRING
43 PossDupFlag BOOLEAN
44 Price PRICE
45 RefSeqNum SEQNUM
48 SecurityID STRING
49 SenderCompID STRING
50 SenderSubID STRING
52 SendingTime UTCTIMESTAMP
54 Side CHAR 1 2 3 4 5 6 7 8 9 A B C D E F G
55 Symbol STRING
56 TargetCompID STRING
57 TargetSubID STRING
58 Text STRING
59 TimeInForce CHAR 0 1 2 3 4 5 6 7 8 9
60 TransactTime UTCTIMESTAMP
75 TradeDate LOCALMKTDATE
76 ExecBroker STRING
89 Signature DATA
90 SecureDataLen LENGTH
91 SecureData DATA
93 SignatureLength LENGTH
95 RawDataLength LENGTH
96 RawData DATA
97 PossResend BOOLEAN
98 EncryptMethod INT 0 1 2 3 4 5 6
99 StopPx PRICE
100 ExDestination EXCHANGE
102 CxlRejReason INT
103 OrdRejReason INT
108 HeartBtInt INT
109 ClientID STRING
110 MinQty QTY
111 MaxFloor QTY
112 TestReqID STRING
115 OnBehalfOfCompID STRING
116 OnBehalfOfSubID STRING
122 OrigSendingTime UTCTIMESTAMP
123 GapFillFlag BOOLEAN
126 ExpireTime UTCTIMESTAMP
128 DeliverToCompID STRING
129 DeliverToSubID STRING
141 ResetSeqNumFlag BOOLEAN
142 SenderLocationID STRING
143 TargetLocationID STRING
144 OnBehalfOfLocationID STRING
145 DeliverToLocationID STRING
150 ExecType CHAR 0 1 2 3 4 5 6 7 8 9 A B C D E F G H I L
151 LeavesQty QTY
207 SecurityExchange EXCHANGE
211 PegOffsetValue FLOAT
212 XmlDataLen LENGTH
213 XmlData DATA
336 TradingSessionID STRING
347 MessageEncoding STRING
369 LastMsgSeqNumProcessed SEQNUM
371 RefTagID INT
372 RefMsgType STRING
373 SessionRejectReason INT
378 ExecRestatementReason INT
379 BusinessRejectRefID STRING
380 BusinessRejectReason INT
383 MaxMessageSize LENGTH
432 ExpireDate LOCALMKTDATE
434 CxlRejResponseTo CHAR 1 2
439 ClearingFirm STRING
447 PartyIDSource CHAR
448 PartyID STRING
452 PartyRole INT
453 NoPartyIDs NUMINGROUP
464 TestMessageIndicator BOOLEAN
487 TradeReportTransType INT
528 OrderCapacity CHAR A G I P R W
529 OrderRestrictions MULTIPLECHARVALUE
530 MassCancelRequestType CHAR 1 2 3 4 5 6 7
531 MassCancelResponse CHAR 0 1 2 3 4 5 6 7
532 MassCancelRejectReason INT
533 TotalAffectedOrders INT
548 CrossID STRING
549 CrossType INT 1 2 3 4
550 CrossPrioritization INT 0 1 2
552 NoSides NUMINGROUP
553 Username STRING
554 Password STRING
570 PreviouslyReported BOOLEAN
571 TradeReportID STRING
581 AccountType INT 1 2 3 4 6 7 8
627 NoHops NUMINGROUP
628 HopCompID STRING
629 HopSendingTime UTCTIMESTAMP
630 HopRefID SEQNUM
789 NextExpectedMsgSeqNum SEQNUM
790 OrdStatusReqID STRING
797 CopyMsgIndicator BOOLEAN
839 PeggedPrice PRICE
847 TargetStrategy INT
851 LastLiquidityInd INT
856 TradeReportType INT
880 TrdMatchID STRING
1084 DisplayMethod CHAR 1 2 3 4
1128 ApplVerID STRING 9
1129 CstmApplVerID STRING
1137 DefaultApplVerID STRING
1138 DisplayQty QTY
1156 ApplExtID INT
1369 MassActionReportID STRING
1407 DefaultApplExtID INT
1408 DefaultCstmApplVerID STRING
1409 SessionStatus INT
2362 SelfMatchPreventionID STRING
2964 SelfMatchPreventionInstruction INT
"""

_HEADER: Final = """
8! 9! 35! 49! 56! 115 128 90 91 34! 50 142 57 143 116 144 129 145 43 97 52! 122 212 213 347 369
627(628! 629 630)
"""
_HEADER_4_2: Final = _HEADER.split("627", maxsplit=1)[0]
_TRAILER: Final = "93 89 10!"

_PARTIES: Final = "453(448! 447 452)"
_ORDER: Final = (
    "1 18 22 48 207 99 15 44 54! 60! 40! 59 126 432 110 111 211 58 100 336 528 529 581 1084 1138 2362 2964 " + _PARTIES
)

_CROSS: Final = f"548! 549! 550! 55! 22 48 207 60! 40! 44 59 18 21 100 552!(54! 11! {_PARTIES} 1 38)"
_REPORTED: Final = f"60 58 110 111 18 126 432 548 549 880 790 797 839 851 {_PARTIES}"
_PRICED: Final = "40 44 99 211 59 32 31"
#: Fields of a copy in FIX 4.2 in place of parties.
_BROKERS: Final = "76 109 439"
_CAPTURED: Final = "571! 487 856 570! 17 150 55! 32! 31! 75! 60! 797 880"

#: Messages that all versions have alike.
_SESSION: Final = """
0: 112
1: 112!
2: 7! 16!
3: 45! 371 372 373 58
4: 123 36!
5: 58
A: 98! 108! 95 96 141 383 464 553 554 789
"""

_SESSIONS: Final[Mapping[str, str]] = {
    "FIX.4.2": _SESSION,
    "FIX.4.4": _SESSION,
    "FIXT.1.1": _SESSION.replace("A: 98! 108!", "A: 98! 108! 1137! 1407 1408 1409"),
}
_MESSAGES: Final[Mapping[str, str]] = {
    "FIX.4.2": f"""
j: 45 372! 379 380! 58
D: 11! 21! 55! 38 {_ORDER.replace(_PARTIES, "")}
G: 37 41! 11! 21! 55! 38 {_ORDER.replace(_PARTIES, "")}
F: 41! 37 11! 1 55! 22 48 54! 60! 38 58
H: 37 11! 1 55! 54!
8: 37! 11 41 17! 20! 150! 39! 103 378 1 55! 54! 38 {_PRICED} 151! 14! 6! 60 58 110 111 18 126 432 880 {_BROKERS}
9: 37! 11! 41! 39! 1 60 434! 102 58
""",
    "FIX.4.4": f"""
j: 45 372! 379 380! 58
D: 11! 21 55! 38 {_ORDER}
G: 37 41! 11! 21 55! 38 {_ORDER}
F: 41! 37 11! 1 55! 22 48 54! 60! 38 58 {_PARTIES}
H: 37 790 11! 1 55 54! {_PARTIES}
q: 11! 530! 1 55 22 48 207 54 60! 58 336
r: 11 37! 530! 531! 532 533 55 54 60 58
8: 37! 11 41 17! 150! 39! 103 378 1 55 54! 38 {_PRICED} 151! 14! 6! {_REPORTED}
9: 37! 11! 41! 39! 1 60 434! 102 58
AE: {_CAPTURED} 552!(54! 37! 11 {_PARTIES})
s: {_CROSS}
""",
    "FIXT.1.1": f"""
j: 45 372! 379 380! 58
D: 11! 21 55! 38 {_ORDER}
G: 37 41 11! 21 55! 38 {_ORDER}
F: 41 37 11! 1 55! 22 48 54! 60! 38 58 {_PARTIES}
H: 37 790 11 1 55 54! {_PARTIES}
q: 11! 530! 1 55 22 48 207 54 60! 58 336 {_PARTIES}
r: 11 37! 1369! 530! 531! 532 533 55 54 60 58
8: 37! 11 41 17! 150! 39! 103 378 1 55 54! 38 {_PRICED} 151! 14! 6 {_REPORTED} 1138
9: 37! 11! 41 39! 1 60 434! 102 58
AE: {_CAPTURED} 552!(54! {_PARTIES} 37 11)
s: {_CROSS}
""",
}
_HEADERS: Final[Mapping[str, str]] = {
    "FIX.4.2": _HEADER_4_2,
    "FIX.4.4": _HEADER,
    "FIXT.1.1": f"{_HEADER} 1128 1129 1156",
}
#: Numbers of the fields of the standard in each version: from FIX 4.4 on without those that it has given up.
_FROM_4_4: Final = """
1-19 21-23 25-45 48-50 52-75 77-85 87-91 93-100 102-104 106-108 110-124 126-165 167-172 188-203 206-218 220-260 262-313
315-318 320-369 371-438 441-448 451-464 466-652 654-684 686-808 810-830 832-956
"""
_STANDARD_TAGS: Final[Mapping[str, str]] = {
    "FIX.4.2": "1-100 102-219 223 231 262-446",
    "FIX.4.4": _FROM_4_4,
    "FIXT.1.1": f"""{_FROM_4_4} 685 809
957-994 996-1003 1005-1009 1011-1075 1079-1232 1234-1237 1239-1306 1308-1358 1361-1504 1617
""",
}
#: The same for the messages of the session and all headers, where these have a standard of their own.
_SESSION_TAGS: Final[Mapping[str, str]] = {
    "FIXT.1.1": """
7-10 16 34-36 43 45 49-50 52 56-58 89-91 93 95-98 108 112 115-116 122-123 128-129 141-145 212-213 347 354-355 369
371-373 383-385 464 553-554 627-630 789 1128-1131 1137
""",
}
#: First letters of the types of two letters in each version.
_SECOND_TYPES: Final[Mapping[str, str]] = {"FIX.4.2": "", "FIX.4.4": "AB", "FIXT.1.1": "ABCDE"}
_TOKEN: Final = re.compile(r"(\d+)(!?)(\(?)|(\))")

#: Versions that the exchange speaks, by the first field of a message.
VERSIONS: Final = tuple(_MESSAGES)


def _members(tokens: Iterator[re.Match[str]]) -> tuple[Member, ...]:
    members = []
    for token in tokens:
        tag, required, opens, closes = token.groups()
        if closes:
            break
        inner = _members(tokens) if opens else ()
        members.append(Member(int(tag), bool(required), inner))
    return tuple(members)


def _read_members(text: str) -> tuple[Member, ...]:
    return _members(_TOKEN.finditer(text))


def _types(version: str) -> frozenset[str]:
    """Types of messages of the standard, some more with them: all letters, and two from the letters of the version."""
    pairs = (first + second for first in _SECOND_TYPES[version] for second in ascii_uppercase)
    return frozenset([*ascii_letters, *digits, *pairs])


def _spanned(text: str) -> frozenset[int]:
    spans = (span.partition("-") for span in text.split())
    return frozenset(tag for first, _, last in spans for tag in range(int(first), int(last or first) + 1))


def _tags_in(members: Iterable[Member]) -> Iterator[int]:
    for member in members:
        yield member.tag
        yield from _tags_in(member.members)


def composed(version: str, messages: str, fields: str = "") -> Dictionary:
    """A dictionary of a version: the session, and messages in the notation of this module.

    fields: that these have beside those here. Raises KeyError for a version that the exchange does not speak.
    """
    lines = [line.split() for line in f"{_FIELDS}{fields}".split("\n") if line]
    known = {int(tag): Field(int(tag), name, kind, frozenset(values)) for tag, name, kind, *values in lines}
    rows = (line.split(":") for line in f"{_SESSIONS[version]}{messages}".split("\n") if line.strip())
    made = {kind: _read_members(members) for kind, members in rows}
    header, trailer = _read_members(_HEADERS[version]), _read_members(_TRAILER)
    around = {*_tags_in(header), *_tags_in(trailer)}
    of_session = around | {tag for kind in ADMIN_TYPES for tag in _tags_in(made[kind])}
    used = around | {tag for members in made.values() for tag in _tags_in(members)}
    session_tags = _spanned(_SESSION_TAGS.get(version, ""))
    return Dictionary(
        version,
        {tag: known[tag] for tag in sorted(used)},
        header,
        trailer,
        made,
        session_fields={tag: known[tag] for tag in sorted(of_session)} if session_tags else {},
        unserved=_types(version) - made.keys(),
        other_tags=_spanned(_STANDARD_TAGS[version]) - used,
        other_session_tags=session_tags - of_session,
    )


@cache
def own(version: str) -> Dictionary:
    """The dictionary of order entry in a version that the exchange speaks; FIXT.1.1 has the messages of FIX 5.0 SP2.

    Raises KeyError for another version.
    """
    return composed(version, _MESSAGES[version])
