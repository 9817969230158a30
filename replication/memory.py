"""Arbiter in the memory of one process, for tests and simulations."""

import time
from collections.abc import Callable

from replication.arbiter import TTL_NS_DEFAULT, Answer, Arbiter, Request
from replication.register import Register


class MemoryArbiter(Arbiter):
    """Driver of a register in this process. Several may share one register, as nodes share an arbiter.

    clock_ns: monotonic clock of the arbiter, which a simulation replaces.
    """

    def __init__(
        self,
        register: Register,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        ttl_ns: int = TTL_NS_DEFAULT,
    ) -> None:
        self._register = register
        self._clock_ns = clock_ns
        self.ttl_ns = ttl_ns

    async def ask(self, request: Request) -> Answer:
        """Decide a request at once. Raises ValueError."""
        return self._register.ask(request, self._clock_ns())
