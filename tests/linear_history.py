"""Proof that the answers of a market with two nodes are one linear history: a pure function, and what reads its input.

There is one chain in the end, that of the last primary. Against it stand what each client sent and was told, with
monotonic times of one process, and what was ever seen on each node's disk. ``complaints`` gives a sentence for each
thing that does not fit; none means:

- each message that a client was told is in the chain at its number, with the same bytes: no acknowledged order is lost,
- no order was accepted twice, and no request is without its outcome,
- answers respect real time: a request that was sent after another's answer had come is behind it in the chain,
- no answer came over a connection of an epoch before that of its block,
- both journals have the same blocks as far as the shorter one goes, and epochs that never fall,
- each block that was on a disk is in the chain, or in a quarantine of that node.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gateway.ouch.streams import OuchStreams
from gateway.streams import Segment
from journal import Block, Journal, quarantine
from journal.history import History
from journal.slices import places
from replay.past import PastSlice
from replay.rebuild import capacity_of, journal_of
from tests.ouch_messages import messages
from tests.trading import packets


class BlockId(NamedTuple):
    """A block of a journal: its commands, the checksum of the chain after it, and its epoch."""

    first_seq: int
    last_seq: int
    checksum: bytes
    epoch: int


class Told(NamedTuple):
    """A message of a user's stream, the command that caused it, and the first one of its block."""

    packet: bytes
    seq: int
    block_seq: int


@dataclass
class NodeHistory:
    """Blocks of a node: in its journal at the end, in its quarantines, and those seen on its disk at any time."""

    name: str
    blocks: list[BlockId]
    aside: list[BlockId] = field(default_factory=list)
    seen: list[BlockId] = field(default_factory=list)


class Answer(NamedTuple):
    """A request: when it was first sent, when its answer came, and the number of the answer in the stream."""

    sent_ns: int
    came_ns: int
    number: int


class Heard(NamedTuple):
    """A message that came: its bytes, and the epoch of the connection, 0 if it named none."""

    packet: bytes
    epoch: int


@dataclass
class ClientHistory:
    """Messages by number as they first came, requests with an answer, and tokens of those without an outcome."""

    user: str
    heard: dict[int, Heard]
    answers: list[Answer] = field(default_factory=list)
    open_tokens: list[str] = field(default_factory=list)
    changed: int = 0  # messages that came again, with other bytes


@dataclass
class Chain:
    """The surviving chain: its blocks, and the stream that they give to each user."""

    blocks: list[BlockId]
    streams: dict[str, list[Told]]


def complaints(chain: Chain, clients: list[ClientHistory], nodes: list[NodeHistory]) -> list[str]:
    """Sentences on what does not fit; none if all of it is one linear history."""
    found: list[str] = []
    for client in clients:
        found += _about_messages(chain, client)
    found += _about_real_time(chain, clients)
    found += _about_doubles(chain)
    found += _about_blocks(chain, nodes)
    return found


def _about_messages(chain: Chain, client: ClientHistory) -> list[str]:
    found = []
    stream = chain.streams.get(client.user, [])
    epochs = {block.first_seq: block.epoch for block in chain.blocks}
    for number, heard in sorted(client.heard.items()):
        if number > len(stream):
            found.append(f"{client.user} was told message {number}, and the chain has {len(stream)}")
        elif stream[number - 1].packet != heard.packet:
            found.append(f"{client.user} was told another message {number} than the chain has")
        elif heard.epoch and epochs.get(stream[number - 1].block_seq, 0) > heard.epoch:
            found.append(f"{client.user} was told message {number} by epoch {heard.epoch}, before its block")
    numbers = sorted(client.heard)
    if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        found.append(f"{client.user} missed a message")
    if client.changed:
        found.append(f"{client.user} was told {client.changed} messages again with other bytes")
    found += [f"{client.user} has no outcome of {token}" for token in client.open_tokens]
    return found


def _about_real_time(chain: Chain, clients: list[ClientHistory]) -> list[str]:
    """Order in real time against order in the chain: a sweep over the times, with the last command answered so far."""
    events: list[tuple[int, int, int, str]] = []
    for client in clients:
        stream = chain.streams.get(client.user, [])
        for sent_ns, came_ns, number in client.answers:
            if number <= len(stream):
                seq = stream[number - 1].seq
                events.append((came_ns, 1, seq, client.user))
                events.append((sent_ns, 0, seq, client.user))
    found, last_seq = [], 0
    for _, is_answer, seq, user in sorted(events):
        if is_answer:
            last_seq = max(last_seq, seq)
        elif seq <= last_seq:
            found.append(f"a request of {user} is command {seq}, and was sent after the answer to command {last_seq}")
    return found


def _about_doubles(chain: Chain) -> list[str]:
    found = []
    for user, stream in chain.streams.items():
        tokens = Counter(
            fields["order_token"]
            for kind, fields in messages(b"".join(told.packet for told in stream))
            if kind == "ACCEPTED"
        )
        found += [f"{user}'s order {token} was accepted {count} times" for token, count in tokens.items() if count > 1]
    return found


def _about_blocks(chain: Chain, nodes: list[NodeHistory]) -> list[str]:
    found = []
    for node in nodes:
        both = zip(node.blocks, chain.blocks, strict=False)
        differs = next((own.first_seq for own, other in both if own != other), None)
        if differs is not None:
            found.append(f"the journal of {node.name} is another than the chain from command {differs} on")
        known = {*chain.blocks, *node.aside}
        lost = [block for block in dict.fromkeys(node.seen) if block not in known]
        found += [
            f"commands {block.first_seq} to {block.last_seq} were on the disk of {node.name}, and are in no quarantine"
            for block in lost
        ]
        found += [
            f"commands {block.first_seq} to {block.last_seq} of the chain are in a quarantine of {node.name}"
            for block in set(node.aside) & set(chain.blocks)
        ]
    epochs = [block.epoch for block in chain.blocks]
    if epochs != sorted(epochs):
        found.append("the epochs of the chain fall")
    return found


# Reading of the input.


def blocks_of(data: Path) -> list[BlockId]:
    """Blocks in the journal of a data directory, whose node may have been killed or stopped."""
    found = []
    for place in places(data):
        with Journal.open(data, readonly=True, slice_number=place.number) as journal:
            found += [id_of(block) for block in journal.blocks()]
    return found


def id_of(block: Block) -> BlockId:
    """Identity of a block."""
    return BlockId(block.first_seq, block.last_seq, block.checksum, block.epoch)


def aside_of(data: Path) -> list[BlockId]:
    """Blocks in the quarantines of a data directory."""
    found, wrong = quarantine.quarantines(data)
    assert wrong == []
    return [id_of(block) for each in found for block in quarantine.quarantined_blocks(data, each.name)]


def chain_of(data: Path) -> Chain:
    """The chain in a data directory, with all streams made from nothing but its journal."""
    with journal_of(data) as journal:
        capacity = capacity_of(journal)
    now = [0, 0]
    made: dict[int, list[Told]] = {}

    def deliver(segment: Segment) -> None:
        made.setdefault(segment.user, []).extend(Told(packet, *now) for packet in packets(segment.data))

    streams = OuchStreams(capacity, deliver, lambda _: made.clear())

    def observe(first_seq: int, commands: Any, events: Any) -> None:
        bounds = np.searchsorted(events["seq"], np.arange(first_seq, first_seq + len(commands) + 1)).tolist()
        for place, (begin, end) in enumerate(pairwise(bounds)):
            now[:] = first_seq + place, first_seq
            streams(first_seq + place, commands[place : place + 1], events[begin:end])

    with History.open(data) as history:
        for part in history.ranges(1, history.last_seq):
            for block in PastSlice(history, part, need_engine=True).blocks():
                observe(block.play.first_seq, block.play.commands, block.play.events)
    return Chain(blocks_of(data), {streams.name(user): told for user, told in made.items()})
