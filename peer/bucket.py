"""Token buckets: what may be done at a rate, and so much of it at once after a quiet time. Pure."""

from collections import OrderedDict

ROUNDING = 1e-6
"""Of a token: a wait too short to move the clock must not be waited for again and again."""


class Bucket:
    """Tokens that come at a rate and are kept up to a number. Times in seconds, of one clock."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._at = burst, now

    def wait(self, now: float) -> float:
        """Seconds until there is a whole token."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        missing = 1 - self._tokens
        return missing / self._rate if missing > ROUNDING else 0.0

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        if self.wait(now):
            return False
        self._tokens -= 1
        return True

    def spend(self, count: float, now: float) -> None:
        """So many are gone already, whether there were as many or not: what is missing comes first."""
        self.wait(now)
        self._tokens -= count


class Buckets:
    """A bucket for each key. Only the last ``keys_max`` keys are remembered; who is forgotten begins anew."""

    def __init__(self, rate: float, burst: float, keys_max: int) -> None:
        self._rate, self._burst, self._keys_max = rate, burst, keys_max
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()  # the one asked for last is the last

    def of(self, key: str, now: float) -> Bucket:
        """The key's bucket as it is now; not to be kept."""
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = Bucket(self._rate, self._burst, now)
            if len(self._buckets) >= self._keys_max:
                self._buckets.popitem(last=False)
        self._buckets[key] = bucket
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)
