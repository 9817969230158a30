"""First step of a program that a node supervises: it ends with the node, by whatever cause that ends.

    python -m node.programs.launch PID NICE CPUS COMMAND...

PID: of the node, whose child this is. NICE: added to the priority. CPUS: processors, with commas. The command takes
the place of this process, so its number stays, and with it the order to the system to kill it when the node is dead.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from replay.forking import end_with_parent

#: Exit status where the command cannot be run, as in a shell.
NOT_RUN: Final = 127


def main(words: Sequence[str]) -> int:
    """Run the command; comes back only where that fails, with ``NOT_RUN`` and a sentence."""
    pid, nice, cpus, *command = words
    end_with_parent(int(pid))
    try:
        os.sched_setaffinity(0, {int(each) for each in cpus.split(",")})
        os.nice(int(nice))
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {(error.strerror or str(error)).lower()}\n")
    return NOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
