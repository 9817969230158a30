"""A copy of a venue. Orders, levels and participants refer to each other in long chains, along which `copy.deepcopy`
would call itself once for each order; this goes through them with a list of what is left to do."""

from collections import deque
from typing import Any

from sortedcontainers import SortedList


def copied(value: Any) -> Any:
    """A copy with which nothing that can change is shared.

    Keys and members of tuples, sets and sorted lists are taken to be plain.

    >>> inner = {1: 2}
    >>> first, second = copied([inner, inner])
    >>> first is second, first is inner, first
    (True, False, {1: 2})
    """
    made: dict[int, Any] = {}
    left: list[Any] = []

    def begun(source: Any) -> Any:
        """The copy of an object, to be filled later."""
        if not isinstance(source, dict | list | deque | set | SortedList) and not _has_fields(source):
            return source
        if id(source) not in made:
            if isinstance(source, SortedList):
                made[id(source)] = SortedList(source)
                return made[id(source)]
            if isinstance(source, deque):
                new: Any = deque(maxlen=source.maxlen)
            elif isinstance(source, dict | list | set):
                new = type(source)()
            else:
                new = object.__new__(type(source))
            made[id(source)] = new
            left.append(source)
        return made[id(source)]

    whole = begun(value)
    while left:
        source = left.pop()
        target = made[id(source)]
        if isinstance(source, dict):
            for key, each in source.items():
                target[key] = begun(each)
        elif isinstance(source, set):
            target.update(source)
        elif isinstance(source, list | deque):
            target.extend([begun(each) for each in source])
        else:
            for name in _fields(source):
                object.__setattr__(target, name, begun(getattr(source, name)))
    return whole


def _has_fields(source: Any) -> bool:
    """True for an object of ours that can change."""
    return type(source).__module__.startswith("engine.reference") and not isinstance(source, tuple)


def _fields(source: Any) -> list[str]:
    if hasattr(source, "__dict__"):
        return list(vars(source))
    slots = [name for each in type(source).__mro__ for name in getattr(each, "__slots__", ())]
    return [name for name in slots if hasattr(source, name)]
