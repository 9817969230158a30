"""Dictionaries of FIX: which fields and messages there are, read from XML in QuickFIX's form or from a table.

A ``Dictionary`` is plain data: fields with type and values; header, trailer and messages as members, which are fields
or repeating groups. ``wire.fix_validation`` compiles it. From FIX 5.0 on one dictionary has the session (FIXT.1.1) and
another the messages of orders and markets; ``joined`` puts them together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from wire.errors import ProtocolError


@dataclass(frozen=True)
class Field:
    """A field: its number, name, type in capitals, and the values that it may have; none stand for any."""

    tag: int
    name: str
    kind: str
    values: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Member:
    """A place of a field in a message or group.

    members: of the group that the field counts; the first of them begins each instance.
    """

    tag: int
    required: bool
    members: tuple["Member", ...] = ()


@dataclass(frozen=True)
class Dictionary:
    """Fields and messages of a version."""

    version: str
    fields: Mapping[int, Field]
    header: tuple[Member, ...]
    trailer: tuple[Member, ...]
    messages: Mapping[str, tuple[Member, ...]]
    #: Fields of the messages of the session where another dictionary has these: FIXT.1.1.
    session_fields: Mapping[int, Field] = field(default_factory=dict)
    #: Types of messages that are of the standard and have no members here: none of them is served.
    unserved: frozenset[str] = frozenset()
    #: Numbers of fields that are of the standard and in no message here; the same beside ``session_fields``.
    other_tags: frozenset[int] = frozenset()
    other_session_tags: frozenset[int] = frozenset()


#: Types of messages of the session itself.
ADMIN_TYPES: Final = frozenset("012345A")


def joined(session: Dictionary, application: Dictionary) -> Dictionary:
    """One dictionary out of that of the session and that of the messages."""
    messages = dict(application.messages)
    messages.update({kind: members for kind, members in session.messages.items() if kind in ADMIN_TYPES})
    return Dictionary(session.version, application.fields, session.header, session.trailer, messages, session.fields)


def read_xml(path: Path) -> Dictionary:
    """The dictionary in a file of QuickFIX's form.

    Raises ProtocolError for a file that is none, OSError for one that cannot be read.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
        return _read(root)
    except (ElementTree.ParseError, KeyError, ValueError, AttributeError) as error:
        raise ProtocolError(f"{path} is no dictionary of FIX in QuickFIX's form: {error!r}") from None


def _read(root: ElementTree.Element) -> Dictionary:
    def part(name: str) -> ElementTree.Element:
        found = root.find(name)
        if found is None:
            raise ValueError(f"<{name}> is missing")
        return found

    fields, tags = {}, {}
    for each in part("fields"):
        values = frozenset(value.attrib["enum"] for value in each.findall("value"))
        made = Field(int(each.attrib["number"]), each.attrib["name"], each.attrib["type"], values)
        fields[made.tag], tags[made.name] = made, made.tag
    components = {each.attrib["name"]: each for each in root.findall("components/component")}

    def members(parent: Iterable[ElementTree.Element], required: bool) -> tuple[Member, ...]:
        found: list[Member] = []
        for each in parent:
            needed = each.attrib.get("required") == "Y"
            if each.tag == "component":
                found += members(components[each.attrib["name"]], required and needed)
            elif each.tag == "group":
                found.append(Member(tags[each.attrib["name"]], required and needed, members(each, True)))
            else:
                found.append(Member(tags[each.attrib["name"]], required and needed))
        return tuple(found)

    version = f"{root.attrib.get('type', 'FIX')}.{root.attrib['major']}.{root.attrib['minor']}"
    messages = {each.attrib["msgtype"]: members(each, True) for each in part("messages")}
    header, trailer = members(part("header"), True), members(part("trailer"), True)
    return Dictionary(version, fields, header, trailer, messages)
