"""Number of connections within the system's limit of open files.

A node that has no descriptor left could write no checkpoint, and its operator could not reach it. So some are kept for
its own use, and clients get the rest: more of them are refused before that, as any beyond ``connections_max`` are.
"""

import resource
from typing import Final

#: Descriptors for the node itself: journal, spool, checkpoints, operator, monitors, and connections being refused.
RESERVED: Final = 128


def connections_within(wanted: int, past_days: int = 0) -> int:
    """So many of the wanted connections as there are descriptors for; the soft limit is raised first, if it may be.

    past_days: days whose streams are kept, each in an open file.
    """
    reserved = RESERVED + past_days
    needed = wanted + reserved
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _less(soft, needed) and soft != hard:
        soft = hard if _less(hard, needed) else needed
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, soft - reserved)) if _less(soft, needed) else wanted


def _less(limit: int, needed: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < needed
