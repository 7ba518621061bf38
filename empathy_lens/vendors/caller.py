"""Asking once: the journal first, then the budget, then the vendor.

Everything that costs money goes through :class:`Caller`, so that no answer is lost or paid twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import InputError
from .client import FATAL, Answer, CallError, VendorClient
from .config import Config, Vendor, read_keys
from .journal import Answered, Asked, Failed, Journal, open_journal
from .protocols import Reply, Request, UnreadableReplyError, read_reply

T = TypeVar("T")

SHORTEST_SECRET = 8
"""A shorter key is a placeholder for a local server, and may be a word of any text."""

GIVE_UP_AFTER = 5
"""Calls in a row that a vendor may fail, each with all its retries, before it is left alone."""


@dataclass(frozen=True)
class Parsed(Generic[T]):
    """A value that a model gave; ``repaired`` where its first reply could not be read."""

    value: T
    repaired: bool


@dataclass(frozen=True)
class Missing:
    """Why there is no value. ``final``: the vendor answered, so asking the same again is useless.

    ``reason`` is "refused", "truncated", "empty", "malformed" or "unreadable" where a vendor
    answered; "not asked" where it was halted or the money ran out; else the kind of failure.
    """

    reason: str
    detail: str
    final: bool


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


class Caller:
    """Asks vendors within the limits of a configuration, and remembers every answer."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        keys: Mapping[str, str],
        *,
        max_cost_usd: float | None = None,
    ):
        cap = config.limits.max_cost_usd if max_cost_usd is None else max_cost_usd
        self.config, self.journal, self._keys = config, journal, keys
        self.budget = Budget(cap, journal.spent_usd)
        self.halted: dict[str, str] = {}
        self.capped = False
        self._clients: dict[str, VendorClient] = {}
        self._turns = {n: asyncio.Semaphore(v.concurrency) for n, v in config.vendors.items()}
        self._failed_in_row = dict.fromkeys(config.vendors, 0)
        self._locks: dict[str, asyncio.Lock] = {}
        self._redact = redactor(keys)

    async def parsed(
        self, request: Request, parse: Callable[[str], T], repair: str
    ) -> Parsed[T] | Missing:
        """The parsed reply to a request, after one attempt at repair where it cannot be read.

        ``repair`` is the instruction for that, with ``{fault}`` where the fault belongs.
        """
        for repaired in (False, True):
            reply = await self.ask(request)
            if isinstance(reply, Missing):
                return reply
            if reply.stop != "done":
                return Missing(reply.stop, self._redact(reply.text[:200]), final=True)
            try:
                return Parsed(parse(reply.text), repaired)
            except UnreadableReplyError as error:
                fault = self._redact(str(error))
                request = request.repaired(reply.text, repair.format(fault=fault))
        return Missing("unreadable", fault, final=True)

    async def ask(self, request: Request) -> Reply | Missing:
        """The reply to a request, from the journal where it was answered before."""
        async with self._locks.setdefault(request.call, asyncio.Lock()):
            record = self.journal.answered.get(request.call)
            if record is not None:
                return read_reply(request.vendor.protocol, record.body)
            vendor = request.vendor
            async with self._turns[vendor.name]:
                if vendor.name in self.halted:
                    return Missing("not asked", self.halted[vendor.name], final=False)
                if not await self.budget.reserve(request.most_usd):
                    self.capped = True
                    why = f"the cap of ${self.budget.cap_usd:g} leaves no room for another call"
                    return Missing("not asked", why, final=False)
                return await self._pay(request)

    async def _pay(self, request: Request) -> Reply | Missing:
        vendor, most, asked = request.vendor, request.most_usd, 0

        def ask_again() -> bool:
            nonlocal asked
            if asked and not self.budget.extend(most):
                return False
            self.journal.write(
                Asked(
                    call=request.call,
                    vendor=vendor.name,
                    model=request.model.name,
                    purpose=request.purpose,
                    most_usd=most,
                )
            )
            asked += 1
            return True

        ask_again()
        try:
            answer = await self._client(vendor).send(request, ask_again)
        except CallError as error:
            missing, cost = self._lost(request, error, asked)
            await self.budget.settle(asked * most, cost)
            return missing
        reply, cost = self._priced(request, answer)
        self.journal.write(
            Answered(
                call=request.call,
                vendor=vendor.name,
                model=request.model.name,
                purpose=request.purpose,
                body=answer.body,
                cost_usd=cost,
                input_tokens=reply.input_tokens,
                output_tokens=reply.output_tokens,
                stop=reply.stop,
                retries=answer.retries,
                settles=asked,
            )
        )
        await self.budget.settle(asked * most, cost)
        self._failed_in_row[vendor.name] = 0
        return reply

    def _priced(self, request: Request, answer: Answer) -> tuple[Reply, float]:
        """The reply and its price: the highest possible where the vendor states no tokens."""
        reply = read_reply(request.vendor.protocol, answer.body)
        stated = reply.input_tokens is not None and reply.output_tokens is not None
        cost = (
            request.model.usd(reply.input_tokens or 0, reply.output_tokens or 0)
            if stated
            else request.most_usd
        )
        return reply, cost + answer.in_doubt * request.most_usd

    def _lost(self, request: Request, error: CallError, asked: int) -> tuple[Missing, float]:
        name, cost = request.vendor.name, error.in_doubt * request.most_usd
        message = self._redact(error.message)
        self.journal.write(
            Failed(
                call=request.call,
                vendor=name,
                model=request.model.name,
                purpose=request.purpose,
                kind=error.kind,
                message=message,
                cost_usd=cost,
                settles=asked,
            )
        )
        self.capped |= error.kind == "cap"
        self._failed_in_row[name] += error.kind != "cap"
        if error.kind in FATAL or self._failed_in_row[name] >= GIVE_UP_AFTER:
            self.halted.setdefault(name, f"{name} is not asked again in this run: {message}")
        return Missing(error.kind, message, final=False), cost

    def _client(self, vendor: Vendor) -> VendorClient:
        if vendor.name not in self._clients:
            key = self._keys[vendor.name]
            self._clients[vendor.name] = VendorClient(vendor, self.config.limits, key)
        return self._clients[vendor.name]

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


@asynccontextmanager
async def open_caller(
    config: Config, journal_path: Path, *, max_cost_usd: float | None = None
) -> AsyncIterator[Caller]:
    """A caller with its journal open. Raises InputError where keys are missing or a cap is bad."""
    if max_cost_usd is not None and not 0 <= max_cost_usd < float("inf"):
        raise InputError(f"max_cost_usd (--max-cost): expected 0 or more, got {max_cost_usd}")
    keys = read_keys(config.vendors.values())
    with open_journal(journal_path, redactor(keys)) as journal:
        caller = Caller(config, journal, keys, max_cost_usd=max_cost_usd)
        try:
            yield caller
        finally:
            await caller.close()


async def all_of(work: Iterable[Coroutine[None, None, T]]) -> tuple[T, ...]:
    """The results of all, run together; the first error stops the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return tuple(task.result() for task in tasks)


def redactor(keys: Mapping[str, str]) -> Callable[[str], str]:
    """A function that takes every key out of a text, whoever put it there."""
    long = {key for key in keys.values() if len(key) >= SHORTEST_SECRET}
    secrets = sorted(long, key=len, reverse=True)

    def redact(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "[key]")
        return text

    return redact
