"""A book that a subscriber keeps from messages W and X, for tests; it fails where a message does not fit to it."""

from wire.fix_codec import Message

_ACTIONS = {b"0": "new", b"1": "change", b"2": "delete"}
BOOK = (b"0", b"1")


def entries_of(message: Message) -> list[dict[bytes, bytes]]:
    """Entries of the group 268, each as its fields."""
    first = b"279" if message.msg_type == b"X" else b"269"
    found: list[dict[bytes, bytes]] = []
    inside = False
    for tag, value in message.in_order():
        inside = inside or tag == b"268"
        if inside and tag == first:
            found.append({})
        if found and tag not in (b"10",):
            found[-1][tag] = value
    assert len(found) == int(message.fields[b"268"]), message.frame
    return found


class FixBook:
    """The knowledge of a subscriber to one instrument. ``levels``: quantity and orders by type and price."""

    def __init__(self) -> None:
        self.levels: dict[tuple[bytes, bytes], tuple[int, int]] = {}
        self.others: dict[bytes, dict[bytes, bytes]] = {}
        self.trades: list[dict[bytes, bytes]] = []
        self.snapshots = 0
        self.updates = 0  # RptSeq, of FIX 5.0

    def take(self, message: Message) -> None:
        """Take W or X. Fails where a name is new that is known, or is not known where it should be."""
        entries = entries_of(message)
        if message.msg_type == b"W":
            self.snapshots += 1
            self.levels, self.others = {}, {}
        for entry in entries:
            kind = entry[b"269"]
            action = _ACTIONS[entry[b"279"]] if message.msg_type == b"X" else "new"
            if b"83" in entry:
                updates = int(entry[b"83"])
                assert updates > self.updates or entry is not entries[0], "RptSeq does not rise"
                self.updates = updates
            if kind == b"J":
                continue
            if kind in BOOK:
                self._level(kind, action, entry)
            elif kind == b"2":
                assert action == "new"
                if message.msg_type == b"X":
                    self.trades.append(entry)
            else:
                assert (kind in self.others) == (action != "new"), (action, entry)
                if action == "delete":
                    del self.others[kind]
                else:
                    self.others[kind] = entry
        if message.msg_type == b"X":
            self._check_positions(entries)

    def _level(self, kind: bytes, action: str, entry: dict[bytes, bytes]) -> None:
        key = kind, entry[b"270"]
        assert (key in self.levels) == (action != "new"), (action, entry)
        if action == "delete":
            del self.levels[key]
            return
        self.levels[key] = int(entry[b"271"]), int(entry[b"346"])

    def side(self, kind: bytes) -> list[bytes]:
        """Prices of a side, best first."""
        prices = [price for of, price in self.levels if of == kind]
        return sorted(prices, key=float, reverse=kind == b"0")

    def _check_positions(self, entries: list[dict[bytes, bytes]]) -> None:
        for entry in entries:
            if b"290" in entry:
                kind = entry[b"269"]
                assert self.side(kind)[int(entry[b"290"]) - 1] == entry[b"270"], entry
