"""The one HTTP client: checked addresses, deadlines for the whole, bounded answers, a few redirects, uploads."""

from __future__ import annotations

from bacpack.http_client.client import HttpClient
from bacpack.http_client.deadline import Cancel
from bacpack.http_client.errors import RequestError
from bacpack.http_client.response import Response, reason_of, too_large
from bacpack.http_client.retry import RequestPolicy

__all__ = ["Cancel", "HttpClient", "RequestError", "RequestPolicy", "Response", "reason_of", "too_large"]
