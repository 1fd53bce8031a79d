"""What the transaction of a unit holds of one partition, as messages with their headers."""

import hashlib

from chargeline.ports import Headers
from chargeline.pricer.aggregate import Computed
from chargeline.pricer.compute import Booked
from chargeline.pricer.intake import INPUT, Part
from chargeline.pricer.recovery import CHARGES
from chargeline.wire.arrow_messages import encode
from chargeline.wire.units import UnitHeader

DEAD_LETTERS = "usage-events-dlq"
_DEAD_LETTER_BYTES_MAX = 8_388_608

Message = tuple[str, int, bytes | None, bytes, Headers]  # topic, partition, key, value, headers


def messages_of(part: Part, computed: Computed) -> list[Message]:
    """Everything that the transaction will hold of one partition."""
    header, batch = header_of(part, computed.booked), part.batch
    partition = batch.partition
    key = str(partition).encode()
    found: list[Message] = []
    for topic, table in (
        (CHARGES, computed.charges),
        ("cost-rollups", computed.cost_rollups),
        ("performance-rollups", computed.performance_rollups),
    ):
        values = encode(table) if table is not None else []
        for index, value in enumerate(values):
            found.append((topic, partition, key, value, header.slice(index, len(values)).encode()))
    for letter in computed.dead_letters:
        value = batch.values[letter.row]
        place = (int(batch.offsets[letter.row]), int(batch.append_times[letter.row]))
        headers = _letter_headers(letter.code, letter.reason, partition, place, value)
        found.append((DEAD_LETTERS, partition, None, value[:_DEAD_LETTER_BYTES_MAX], headers))
    return found


def header_of(part: Part, booked: Booked) -> UnitHeader:
    batch = part.batch
    return UnitHeader(
        batch.partition,
        int(batch.offsets[0]),
        batch.next_offset,
        0,
        1,
        booked.outcomes,
        booked.watermark,
        int(batch.append_times[-1]),
        part.governance_sequence,
        () if booked.corrected is None else booked.corrected.waiting,
    )


def _letter_headers(
    code: str, reason: str, partition: int, place: tuple[int, int], value: bytes
) -> list[tuple[str, bytes]]:
    headers = [
        ("x-chargeline-code", code),
        ("x-chargeline-reason", reason),
        ("x-chargeline-topic", INPUT),
        ("x-chargeline-partition", str(partition)),
        ("x-chargeline-offset", str(place[0])),
        ("x-chargeline-append-time", str(place[1])),
    ]
    if len(value) >= 5 and value[0] == 0:
        headers.append(("x-chargeline-schema-id", str(int.from_bytes(value[1:5], "big"))))
    if len(value) > _DEAD_LETTER_BYTES_MAX:
        headers.append(("x-chargeline-original-length", str(len(value))))
        headers.append(("x-chargeline-original-sha256", hashlib.sha256(value).hexdigest()))
    return [(name, text.encode()) for name, text in headers]
