"""One POST to a channel, and what its answer means. No text of an error names the URL: it may be a secret."""

from collections.abc import Mapping

import urllib3
from urllib3.util.retry import Retry

from chargeline.domain.errors import ChannelAway, Undeliverable

_CONNECT_S, _READ_S = 5.0, 15.0
_AGAIN = {408, 425, 429}  # and every 5xx: the same request may be accepted later
_RETRY_AFTER_MAX_S = 3_600.0  # a channel may not silence itself for longer


class HttpChannel:
    """POSTs to one URL. Redirects are not followed: they would carry the message to an address nobody configured."""

    def __init__(self, url: str, headers: Mapping[str, str], bearer: str | None = None) -> None:
        self._url = url
        self._headers = {**headers, **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S), retries=False, maxsize=1
        )

    def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send it once. Raises ChannelAway or Undeliverable."""
        try:
            answer = self._pool.request(
                "POST", self._url, body=body, headers={**self._headers, **(headers or {})}, redirect=False
            )
        except urllib3.exceptions.LocationValueError:
            raise Undeliverable("the channel's url is not a URL") from None
        except urllib3.exceptions.HTTPError as error:
            # Its text names host and path; `from None` keeps it out of a printed trace, too.
            raise ChannelAway(f"no answer: {type(error).__name__}") from None
        if 200 <= answer.status < 300:
            return
        if answer.status in _AGAIN or answer.status >= 500:
            raise ChannelAway(f"status {answer.status}", _retry_after(answer.headers.get("Retry-After")))
        raise Undeliverable(f"status {answer.status}")

    def close(self) -> None:
        self._pool.clear()


def _retry_after(value: str | None) -> float:
    if value is None:
        return 0.0
    try:
        return min(_RETRY_AFTER_MAX_S, max(0.0, Retry().parse_retry_after(value)))
    except urllib3.exceptions.InvalidHeader:
        return 0.0
