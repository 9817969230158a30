"""Rates of requests: a bucket of tokens that fills by the clock."""


class Bucket:
    """Tokens that fill by the clock: one for each request. rate: of them a second; most: that it holds."""

    def __init__(self, rate: float, most: float, now_s: float) -> None:
        self._rate, self._most = rate, most
        self._tokens, self._at_s = most, now_s

    def take(self, now_s: float) -> bool:
        """Take a token; False where there is none.

        >>> bucket = Bucket(1.0, 2.0, 0.0)
        >>> [bucket.take(at_s) for at_s in (0.0, 0.0, 0.0, 1.0)]
        [True, True, False, True]
        """
        self._tokens = min(self._most, self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
