"""Reading of an LMDB 0.9 data file without LMDB, with every number checked before use.

LMDB maps the file and trusts its content: a flipped bit can crash the process, a truncated file ends it by SIGBUS, and
flipped bits in values are not noticed. So in this package LMDB only writes, and protects a reader's snapshot from being
overwritten; this module reads, by ``pread``. Any content of the file leads at worst to ``PageDamage`` with a sentence.
Format (64 bit, little-endian): two meta pages, then B+trees of branch and leaf pages; a value that is too long for its
leaf is on a run of overflow pages. The root of a tree is in a meta page (free list, main), that of a named tree in the
main tree.
"""

import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

_BRANCH: Final = 0x01
_LEAF: Final = 0x02
_OVERFLOW: Final = 0x04
_META: Final = 0x08
BIG: Final = 0x01
SUBTREE: Final = 0x02
_INTEGER_KEY: Final = 0x08
_NO_PAGE: Final = 2**64 - 1
_PAGE_HEADER: Final = struct.Struct("<QHHHH")
_OVERFLOW_HEADER: Final = struct.Struct("<QHHI")
_NODE: Final = struct.Struct("<HHHH")
_TREE: Final = struct.Struct("<IHHQQQQQ")
_META_START: Final = struct.Struct("<IIQQ")
_META_END: Final = struct.Struct("<QQ")
_META_MAGIC: Final = 0xBEEFC0DE
_META_VERSION: Final = 1
_DEPTH_MAX: Final = 32
HEADER_BYTES: Final = _PAGE_HEADER.size
PAGE_BYTES_RANGE: Final = (512, 65_536)


class PageDamage(ValueError):
    """The file is not a sound LMDB file; says where."""


class Tree(NamedTuple):
    """Description of a tree in a meta page or in the main tree. ``root`` is None for an empty tree."""

    page_bytes: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int | None


class Meta(NamedTuple):
    """One of the two meta pages: a committed state of the file."""

    transaction: int
    last_page: int
    free: Tree
    main: Tree


class Node(NamedTuple):
    """An entry of a leaf: its value is in the leaf (``value``) or on overflow pages from ``page_no`` on."""

    key: bytes
    flags: int
    size: int
    value: bytes
    page_no: int


def _tree(packed: bytes, offset: int) -> Tree:
    tree = Tree._make(_TREE.unpack_from(packed, offset))
    return tree._replace(root=None) if tree.root == _NO_PAGE else tree


def read_meta(fd: int, slot: int, page_bytes: int) -> Meta:
    """The meta page at page ``slot`` (0 or 1). Raises PageDamage."""
    page = os.pread(fd, page_bytes, slot * page_bytes)
    where = f"meta page {slot}"
    if len(page) != page_bytes:
        raise PageDamage(f"the file ends before {where}")
    page_no, _, flags, _, _ = _PAGE_HEADER.unpack_from(page)
    magic, version, address, map_bytes = _META_START.unpack_from(page, HEADER_BYTES)
    at = HEADER_BYTES + _META_START.size
    free, main = _tree(page, at), _tree(page, at + _TREE.size)
    last_page, transaction = _META_END.unpack_from(page, at + 2 * _TREE.size)
    sound = (
        (page_no == slot, "its number"),
        (flags == _META, "its kind"),
        (magic == _META_MAGIC, "its magic number"),
        (version == _META_VERSION, "its format version"),
        (address == 0, "its address"),
        (map_bytes % page_bytes == 0 and map_bytes >= (last_page + 1) * page_bytes, "its map size"),
        (free.page_bytes == page_bytes, "its page size"),
        (free.flags == _INTEGER_KEY and main.flags == 0 and main.page_bytes == 0, "its tree flags"),
        (transaction == 0 or transaction & 1 == slot, "its transaction number"),
        (last_page >= 1, "its last page"),
    )
    for good, what in sound:
        if not good:
            raise PageDamage(f"{where} is damaged: {what} cannot be right")
    return Meta(transaction, last_page, free, main)


def read_metas(fd: int, page_bytes: int) -> Meta:
    """The newer meta page of the two, both sound and one transaction apart. Raises PageDamage."""
    first, second = (read_meta(fd, slot, page_bytes) for slot in (0, 1))
    newer, older = (first, second) if first.transaction > second.transaction else (second, first)
    if newer.transaction - older.transaction != 1:
        raise PageDamage(
            f"the meta pages name transactions {older.transaction} and {newer.transaction}, which must be neighbours"
        )
    return newer


class PageFile:
    """Pages 0 to ``last_page`` of an open file. Methods raise PageDamage, and errors of the disk."""

    def __init__(self, fd: int, page_bytes: int, last_page: int) -> None:
        self.fd = fd
        self.page_bytes = page_bytes
        self.pages = last_page + 1
        size = os.fstat(fd).st_size
        if size < self.pages * page_bytes:
            raise PageDamage(f"the file is cut short: it has {size} bytes and needs {self.pages * page_bytes}")

    def read(self, page_no: int, count: int = 1) -> bytes:
        """``count`` pages from ``page_no`` on."""
        if not 2 <= page_no <= self.pages - count or count < 1:
            raise PageDamage(f"pages {page_no} to {page_no + count - 1} are outside of the file")
        pages = os.pread(self.fd, count * self.page_bytes, page_no * self.page_bytes)
        if len(pages) != count * self.page_bytes:
            raise PageDamage(f"the file ends within page {page_no}")
        return pages

    def _slots(self, page: bytes, page_no: int, kind: int) -> tuple[int, ...]:
        number, _, flags, lower, upper = _PAGE_HEADER.unpack_from(page)
        if number != page_no or flags != kind:
            name = "leaf" if kind == _LEAF else "branch"
            raise PageDamage(f"page {page_no} is not the {name} page that belongs there")
        if not HEADER_BYTES <= lower <= upper <= self.page_bytes or lower & 1:
            raise PageDamage(f"page {page_no} has bounds {lower} and {upper}, which cannot be right")
        slots: tuple[int, ...] = struct.unpack_from(f"<{(lower - HEADER_BYTES) // 2}H", page, HEADER_BYTES)
        if not slots:
            raise PageDamage(f"page {page_no} is empty")
        if min(slots) < upper or max(slots) > self.page_bytes - _NODE.size:
            raise PageDamage(f"page {page_no} has an entry outside of its bounds")
        return slots

    def branch(self, page_no: int, step: int = 1) -> tuple[list[bytes], list[int]]:
        """(keys, pages): page i holds the keys from key i up to key i + 1. The first key is empty and stands for any.

        ``step`` -1 reads little-endian integer keys, so that they compare like the others.
        """
        page = self.read(page_no)
        keys: list[bytes] = []
        children: list[int] = []
        for at in self._slots(page, page_no, _BRANCH):
            low, high, top, key_bytes = _NODE.unpack_from(page, at)
            if at + _NODE.size + key_bytes > self.page_bytes:
                raise PageDamage(f"page {page_no} has a key that leaves the page")
            keys.append(page[at + _NODE.size : at + _NODE.size + key_bytes][::step])
            children.append(low | high << 16 | top << 32)
        keys[0] = b""
        if any(a >= b for a, b in pairwise(keys)):
            raise PageDamage(f"page {page_no} has keys out of order")
        return keys, children

    def leaf(self, page_no: int, step: int = 1) -> list[Node]:
        """The entries of a leaf page, keys rising; ``step`` as for ``branch``."""
        page = self.read(page_no)
        nodes: list[Node] = []
        last = None
        for at in self._slots(page, page_no, _LEAF):
            low, high, flags, key_bytes = _NODE.unpack_from(page, at)
            size = low | high << 16
            start = at + _NODE.size + key_bytes
            end = start + (8 if flags == BIG else size)
            if flags not in (0, BIG, SUBTREE) or end > self.page_bytes or not key_bytes:
                raise PageDamage(f"page {page_no} has an entry that cannot be right")
            key = page[at + _NODE.size : start][::step]
            if last is not None and key <= last:
                raise PageDamage(f"page {page_no} has keys out of order")
            last = key
            value = page[start:end]
            nodes.append(Node(key, flags, size, value, int.from_bytes(value, "little") if flags == BIG else 0))
        return nodes

    def overflow_pages(self, node: Node) -> int:
        """Number of pages of the value of a BIG node."""
        return (HEADER_BYTES + node.size + self.page_bytes - 1) // self.page_bytes

    def value(self, node: Node) -> bytes:
        """The bytes of an entry."""
        if node.flags != BIG:
            return node.value
        count = self.overflow_pages(node)
        self.check_overflow(node, count)
        run = os.pread(self.fd, node.size, node.page_no * self.page_bytes + HEADER_BYTES)
        if len(run) != node.size:
            raise PageDamage(f"the file ends within page {node.page_no}")
        return run

    def check_overflow(self, node: Node, count: int) -> None:
        """Raise PageDamage unless ``node`` names a run of ``count`` overflow pages in the file."""
        if not 2 <= node.page_no <= self.pages - count:
            raise PageDamage(f"overflow page {node.page_no} is outside of the file")
        header = os.pread(self.fd, HEADER_BYTES, node.page_no * self.page_bytes)
        if len(header) != HEADER_BYTES:
            raise PageDamage(f"the file ends within page {node.page_no}")
        number, _, flags, pages = _OVERFLOW_HEADER.unpack(header)
        if number != node.page_no or flags != _OVERFLOW or pages != count:
            raise PageDamage(f"page {node.page_no} is not the overflow page that belongs there")

    def items(self, tree: Tree, start: bytes = b"") -> Iterator[Node]:
        """The entries of a tree with keys from ``start`` on, rising."""
        if tree.root is None:
            return
        self.check_depth(tree)
        stack = [iter((tree.root,))]
        last = b""
        visits = 0
        while stack:
            page_no = next(stack[-1], None)
            if page_no is None:
                stack.pop()
                continue
            visits += 1
            if visits > self.pages:
                raise PageDamage("a tree runs in a circle")
            if len(stack) < tree.depth:
                keys, children = self.branch(page_no)
                stack.append(iter(children[bisect_right(keys, start, lo=1) - 1 :]))
                continue
            for node in self.leaf(page_no):
                if node.key < start:
                    continue
                if node.key <= last:
                    raise PageDamage(f"page {page_no} has keys out of order")
                last = node.key
                yield node

    def floor(self, tree: Tree, key: bytes) -> Node | None:
        """The entry with the greatest key that is not above ``key``."""
        if tree.root is None:
            return None
        self.check_depth(tree)
        page_no = tree.root
        for _ in range(tree.depth - 1):
            keys, children = self.branch(page_no)
            page_no = children[bisect_right(keys, key, lo=1) - 1]
        nodes = self.leaf(page_no)
        place = bisect_right([node.key for node in nodes], key)
        return nodes[place - 1] if place else None

    def get(self, tree: Tree, key: bytes) -> bytes | None:
        """The value at ``key``."""
        node = self.floor(tree, key)
        return None if node is None or node.key != key else self.value(node)

    def subtree(self, main: Tree, name: bytes) -> Tree:
        """The named tree ``name``."""
        node = self.floor(main, name)
        if node is None or node.key != name or node.flags != SUBTREE or node.size != _TREE.size:
            raise PageDamage(f"the tree {name.decode()} is missing")
        tree = _tree(node.value, 0)
        if tree.flags != 0 or (tree.root is None) != (tree.entries == 0):
            raise PageDamage(f"the tree {name.decode()} has numbers that cannot be right")
        return tree

    def check_depth(self, tree: Tree) -> None:
        """Raise PageDamage unless the depth is one that a tree can have."""
        if not 1 <= tree.depth <= _DEPTH_MAX:
            raise PageDamage(f"a tree has depth {tree.depth}, which cannot be right")


def check_file(file: PageFile, meta: Meta, names: tuple[bytes, ...]) -> None:
    """Walk everything that LMDB would follow when it writes: all trees and the free list. Raises PageDamage.

    Every page must have one owner at most, the counts in the trees must agree with what is there, and keys must
    lie between those of the branch above. Contents of overflow pages are not read: time goes with the number of
    entries, not of bytes.
    """
    owners = np.zeros(file.pages, np.uint8)
    owners[:2] = 1
    free_list = list(_walk(file, meta.free, owners, "free list"))
    found = {node.key for node in _walk(file, meta.main, owners, "main tree")}
    if found != set(names):
        raise PageDamage(f"the file has the trees {sorted(found)}, which must be {sorted(names)}")
    for name in names:
        for _ in _walk(file, file.subtree(meta.main, name), owners, f"tree {name.decode()}"):
            pass
    for node in free_list:
        _check_free(file, node, owners, meta.transaction)


def _own(owners: "np.ndarray[Any, Any]", page_no: int, count: int = 1) -> None:
    if page_no + count > len(owners) or owners[page_no : page_no + count].any():
        raise PageDamage(f"page {page_no} belongs to two places at once")
    owners[page_no : page_no + count] = 1


def _walk(file: PageFile, tree: Tree, owners: "np.ndarray[Any, Any]", what: str) -> Iterator[Node]:
    """The entries of a tree, each page entered in ``owners``; the counts of the tree checked at the end."""
    counts = [0, 0, 0, 0]
    stack: list[tuple[int, int, bytes, bytes | None]] = []
    step = -1 if tree.flags & _INTEGER_KEY else 1
    if tree.root is not None:
        file.check_depth(tree)
        stack.append((tree.root, 1, b"", None))
    while stack:
        page_no, depth, low, high = stack.pop()
        if depth < tree.depth:
            keys, children = file.branch(page_no, step)
            _own(owners, page_no)
            counts[0] += 1
            bounds = [low, *keys[1:], high]
            for i in range(len(children) - 1, -1, -1):
                stack.append((children[i], depth + 1, bounds[i] or b"", bounds[i + 1]))
            continue
        nodes = file.leaf(page_no, step)
        _own(owners, page_no)
        counts[1] += 1
        if nodes[0].key < low or (high is not None and nodes[-1].key >= high):
            raise PageDamage(f"page {page_no} of the {what} has keys that belong elsewhere")
        for node in nodes:
            counts[3] += 1
            if node.flags == BIG:
                count = file.overflow_pages(node)
                file.check_overflow(node, count)
                _own(owners, node.page_no, count)
                counts[2] += count
            yield node
    if counts != [tree.branch_pages, tree.leaf_pages, tree.overflow_pages, tree.entries]:
        raise PageDamage(f"the {what} does not have the pages and entries that it should have")


def _check_free(file: PageFile, node: Node, owners: "np.ndarray[Any, Any]", transaction: int) -> None:
    """A record of the free list: a count, then that many page numbers, falling, none of them in use."""
    record = file.value(node)
    count = int.from_bytes(record[:8], "little")
    late = len(node.key) != 8 or int.from_bytes(node.key, "big") > transaction
    if late or len(record) % 8 or count * 8 + 8 > len(record):
        raise PageDamage("the free list has a record that cannot be right")
    free = np.frombuffer(record, "<u8", count, 8)
    if count and (free[0] >= file.pages or free[-1] < 2 or (free[:-1] <= free[1:]).any()):
        raise PageDamage("the free list has a record that cannot be right")
    if owners[free].any():
        raise PageDamage("the free list names a page that is in use")
    owners[free] = 1


def find_values(fd: int, page_bytes: int, magic: bytes, length: Callable[[bytes], int | None]) -> Iterator[int]:
    """Byte offsets at which a value that begins with ``magic`` may lie, whatever else of the file is damaged.

    ``length`` tells from its first bytes how long a value says it is. Looks everywhere but inside of values on
    overflow pages, as far as page and value agree how long those are. Old copies are found too.
    """
    page_no = 2
    while page := os.pread(fd, page_bytes, page_no * page_bytes):
        count = 1
        at = page.find(magic)
        while at >= 0:
            yield page_no * page_bytes + at
            size = length(page[at:]) if at == HEADER_BYTES else None
            if size is not None:
                number, _, flags, pages = _OVERFLOW_HEADER.unpack_from(page)
                expected = (HEADER_BYTES + size + page_bytes - 1) // page_bytes
                if (number, flags, pages) == (page_no, _OVERFLOW, expected):
                    count = pages
                    break
            at = page.find(magic, at + 1)
        page_no += count
