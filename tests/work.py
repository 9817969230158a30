"""Work of a call, counted in instructions of the interpreter: unlike a time, it is the same on every machine."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def instructions(call: Callable[[], object], *packages: str) -> int:
    """Number of instructions that a call executes in the Python files of some packages, such as "replication"."""
    inside = tuple(f"/{package}/" for package in packages)
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if not any(part in frame.f_code.co_filename for part in inside):
            return None
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
