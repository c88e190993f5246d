"""A clock that stands still until a test turns it."""


class ManualClock:
    """Wall and monotonic time; `advance` moves both, `set_wall` makes the wall clock jump."""

    def __init__(self, now_us: int = 1_750_000_000_000_000) -> None:
        self._wall = now_us
        self._monotonic = 1000.0

    def now_us(self) -> int:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._wall += round(seconds * 1_000_000)
        self._monotonic += seconds

    def set_wall(self, now_us: int) -> None:
        self._wall = now_us
