"""Where Java's default partitioner puts a key; all producers of usage-events must agree on it."""


def murmur2(key: bytes) -> int:
    """Kafka's murmur2 of a key, with the sign bit cleared."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    state = (0x9747B28C ^ len(key)) & mask
    whole = len(key) // 4 * 4
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * factor & mask
        state = state * factor & mask ^ ((word ^ word >> 24) * factor & mask)
    if whole < len(key):
        state = (state ^ int.from_bytes(key[whole:], "little")) * factor & mask
    state = (state ^ state >> 13) * factor & mask
    return (state ^ state >> 15) & 0x7FFFFFFF


def partition_of(billing_account_id: str, partitions: int) -> int:
    """The partition of an account's events."""
    return murmur2(billing_account_id.encode()) % partitions
