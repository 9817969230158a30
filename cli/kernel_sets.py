"""The sets of kernels, and their compilation in a process of its own.

python -m cli.kernel_sets SET...  compile these sets one after the other; end when standard input ends, as it does with
the parent process
"""

import importlib
import os
import sys
import threading
from typing import Any, Final

#: Modules with ``compile_kernels`` and ``is_compiled``. The engine's takes as long as all others together.
ENGINE: Final = "engine"
GATEWAY: Final = "gateway.ouch.kernels"
REPORTS: Final = "reports.projection"
NATIVE: Final = "gateway.native.kernels"
FIX: Final = "gateway.fix.kernels"
LADDERS: Final = "marketdata.ladders"
ITCH: Final = "marketdata.itch.block_messages"
FEED: Final = "node.feeds.compiled_feed"
EXPORT: Final = "exports.kernels"
EACH: Final = (ENGINE, GATEWAY, REPORTS, NATIVE, FIX, LADDERS, ITCH, FEED, EXPORT)


def kernel_set(name: str) -> Any:
    """Module of a set."""
    return importlib.import_module(name)


def _end_with_stdin() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    for each in sys.argv[1:]:
        kernel_set(each).compile_kernels()
