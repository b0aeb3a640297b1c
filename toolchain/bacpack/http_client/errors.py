"""A request that failed: why, and whether it may help to send it again."""

from __future__ import annotations

from bacpack.errors import UnreachableError


class RequestError(UnreachableError):
    """A request failed; the code is `url-failed`.

    `reason` is a clause. `again` says whether it may help to ask again, after so many `seconds` if the server said so.
    `final` says that the server is not worth another request, `sent` whether the request may have reached it.
    """

    def __init__(
        self,
        url: str,
        reason: str,
        *,
        again: bool = False,
        seconds: float | None = None,
        final: bool = False,
        sent: bool = True,
    ) -> None:
        self.reason = reason
        self.again = again
        self.seconds = seconds
        self.final = final
        self.sent = sent
        super().__init__(
            "url-failed",
            f"`{url}` cannot be fetched: {reason}",
            hint="check the URL and the network, and try again",
            details={"url": url},
        )


def out_of_time(url: str) -> RequestError:
    """Return the error for a request that would outlast the work which it is part of."""
    return RequestError(url, "the time for all of the work is over", final=True)
