"""Signing alerts that travel by webhook, and checking the signature at the receiver.

    signature = "v1=" + hex(HMAC-SHA256(secret, "v1:" + timestamp + "." + body))

The timestamp (seconds since 1970 UTC, as text) is part of what is signed, so an old message cannot be sent again
later. Both travel in headers; a receiver checks the bytes of the body as they came, before it reads them as JSON.
"""

import hashlib
import hmac
import re

TIMESTAMP_HEADER = "X-Chargeline-Timestamp"
SIGNATURE_HEADER = "X-Chargeline-Signature"
KEY_HEADER = "Idempotency-Key"  # anomaly_id/sequence: the same at every attempt
TOLERANCE_S = 300  # clocks of two machines, and the way between them
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


def sign(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature of a body at a time."""
    return "v1=" + hmac.new(secret, b"v1:" + timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(
    secret: bytes, timestamp: str, body: bytes, signature: str, *, now_s: int, tolerance_s: int = TOLERANCE_S
) -> bool:
    """Whether a message came from who knows the secret, at most `tolerance_s` ago or ahead.

    The comparison takes the same time wherever the first difference lies.

    Args:
        timestamp, signature: the two headers, as they came.
        body: the bytes of the request, as they came.
        now_s: the receiver's clock, seconds since 1970 UTC.
    """
    genuine = hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode("utf-8", "replace"))
    return genuine and _SECONDS.fullmatch(timestamp) is not None and abs(now_s - int(timestamp)) <= tolerance_s
