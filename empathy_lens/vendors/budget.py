"""A cap on money that calls in flight cannot pass together."""

from __future__ import annotations

import asyncio

__all__ = ["Budget"]


class Budget:
    """Money spent, money held for calls in flight, and the cap on their sum, in US dollars.

    A call is let through only where the most that it can cost still fits. So a run ends with less
    than the price of one call left, and never above the cap, as long as vendors keep to the output
    limit that they were given.
    """

    def __init__(self, cap_usd: float, spent_usd: float = 0.0):
        self.cap_usd, self.spent_usd, self._held_usd, self._in_flight = cap_usd, spent_usd, 0.0, 0
        self._changed = asyncio.Condition()

    async def reserve(self, most_usd: float) -> bool:
        """Holds the money for a call; waits for calls in flight, False where it never will fit."""
        async with self._changed:
            while self.spent_usd + self._held_usd + most_usd > self.cap_usd + 1e-12:
                if not self._in_flight:
                    return False
                await self._changed.wait()
            self._held_usd += most_usd
            self._in_flight += 1
            return True

    def extend(self, most_usd: float) -> bool:
        """Holds more money for a call that is under way; False at once where it does not fit."""
        if self.spent_usd + self._held_usd + most_usd > self.cap_usd + 1e-12:
            return False
        self._held_usd += most_usd
        return True

    async def settle(self, held_usd: float, cost_usd: float) -> None:
        """Turns the money held for a call into what it did cost."""
        async with self._changed:
            self._held_usd -= held_usd
            self._in_flight -= 1
            self.spent_usd += cost_usd
            self._changed.notify_all()
