"""The vendors' own SDKs behind one function: a request goes out, the body of a response comes back.

The SDKs retry (rate limits, server errors, lost connections) and honour Retry-After; every attempt
has a deadline from the first byte sent to the last received, which theirs do not have.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from .config import Limits, Vendor
from .protocols import Request, body

Afford = Callable[[], bool]

ATTEMPTS: ContextVar[tuple[list[str], Afford]] = ContextVar("attempts")
IN_DOUBT = "in doubt"
NO_MONEY = "the cap leaves no room for another attempt"
NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "ProxyError"}
FATAL = ("authentication", "not found", "bad request", "certificate", "redirect")
"""What asking again cannot mend: one such failure and the vendor is not asked again in a run."""


@dataclass(frozen=True)
class Answer:
    """A response's body, and how many attempts came before it, some of them perhaps paid."""

    body: str
    retries: int
    in_doubt: int


class CallError(Exception):
    """A call gave no response. ``in_doubt`` attempts may have been paid for all the same."""

    def __init__(self, kind: str, message: str, in_doubt: int):
        super().__init__(f"{kind}: {message}")
        self.kind, self.message, self.in_doubt = kind, message, in_doubt


class VendorClient:
    """One SDK client of one vendor; the SDK is imported when the client is made."""

    def __init__(self, vendor: Vendor, limits: Limits, key: str):
        self.vendor, self.limits = vendor, limits
        sdk: Any
        if vendor.protocol == "anthropic":
            import anthropic as sdk

            kind, refusal = sdk.AsyncAnthropic, sdk.AnthropicError
        else:
            import openai as sdk

            kind, refusal = sdk.AsyncOpenAI, sdk.OpenAIError
        # A redirect could carry the key to another host.
        self._http = _careful(sdk.DefaultAsyncHttpxClient, refusal)(
            follow_redirects=False, timeout=limits.timeout_s
        )
        self._sdk = kind(
            api_key=key or "none",
            base_url=vendor.base_url,
            timeout=limits.timeout_s,
            max_retries=limits.retries,
            default_headers={vendor.key_header: key} if vendor.key_header else None,
            http_client=self._http,
        )

    async def send(self, request: Request, afford: Afford) -> Answer:
        """The body of the response to a request. Raises CallError where there is none.

        ``afford`` is asked before an attempt that follows one which may have been paid for.
        """
        attempts: list[str] = []
        token = ATTEMPTS.set((attempts, afford))
        fields = body(request)
        required = {name: fields.pop(name) for name in ("model", "messages")}
        # The rest goes in as it is: SDKs of different ages know different arguments.
        if self.vendor.protocol == "anthropic":
            required["max_tokens"] = fields.pop("max_tokens")
            create = self._sdk.messages.with_raw_response.create
        else:
            create = self._sdk.chat.completions.with_raw_response.create
        try:
            async with asyncio.timeout(self.limits.call_deadline_s):
                response = await create(**required, extra_body=fields)
            text = cast(str, response.http_response.text)
        except TimeoutError:
            raise CallError("timeout", "no response in time", _in_doubt(attempts, 1)) from None
        except Exception as error:
            kind, message = _reason(error)
            raise CallError(kind, message, _in_doubt(attempts, 0)) from None
        finally:
            ATTEMPTS.reset(token)
        return Answer(text, len(attempts) - 1, _in_doubt(attempts, 0))

    async def close(self) -> None:
        await self._sdk.close()


def _careful(base: type, refusal: type[Exception]) -> Any:
    """An HTTP client that gives each attempt ``timeout`` seconds in all and notes how it ended.

    ``refusal`` is what the SDK raises itself and so does not try again.
    """
    # httpx or its successor, whichever the SDK is built on: it retries that library's errors only.
    parent = next(kind for kind in base.__mro__ if kind.__name__ == "AsyncClient")
    httpx = import_module(parent.__module__.partition(".")[0])

    class Careful(base):
        async def send(self, request: Any, **kwargs: Any) -> Any:
            attempts, afford = ATTEMPTS.get()
            if attempts and attempts[-1] == IN_DOUBT and not afford():
                raise refusal(NO_MONEY)
            try:
                async with asyncio.timeout(self.timeout.read):
                    response = await super().send(request, **kwargs)
            except TimeoutError:
                attempts.append(IN_DOUBT)
                raise httpx.ReadTimeout("no whole response in time", request=request) from None
            except BaseException as error:
                unsent = type(error).__name__ in NEVER_SENT
                attempts.append("unsent" if unsent else IN_DOUBT)
                raise
            attempts.append(str(response.status_code))
            return response

    return Careful


def _in_doubt(attempts: list[str], unnoted: int) -> int:
    """How many attempts may have been paid for without giving their response."""
    return max(attempts.count(IN_DOUBT), unnoted if not attempts else 0)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(error: Exception) -> tuple[str, str]:
    """What kind of failure an SDK's exception is, and a short message without its request."""
    causes = list(_causes(error))
    if str(error) == NO_MONEY:
        return "cap", NO_MONEY
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                "certificate",
                f"the server's certificate is not trusted ({cause.verify_message})",
            )
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _kind_of(status), f"HTTP {status}: {_said(error)}"
    if any("Timeout" in type(cause).__name__ for cause in causes):
        return "timeout", "no response in time"
    return "connection", f"{type(causes[-1]).__name__}: {str(causes[-1])[:200]}"


def _kind_of(status: int) -> str:
    kinds = {401: "authentication", 403: "authentication", 404: "not found", 429: "rate limit"}
    if status in kinds:
        return kinds[status]
    if status == 408 or status >= 500:
        return "server error"
    return "redirect" if status < 400 else "bad request"


def _said(error: Exception) -> str:
    """The vendor's own words, where its error body has the usual shape."""
    said: Any = getattr(error, "body", None)
    if isinstance(said, list) and said:
        said = said[0]
    for name in ("error", "message"):
        if isinstance(said, Mapping) and name in said:
            said = said[name]
    return " ".join(str(said or "no explanation").split())[:300]
