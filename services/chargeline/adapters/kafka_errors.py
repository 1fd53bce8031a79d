"""What an error of the Kafka client means for the caller, in one place."""

from confluent_kafka import KafkaError, KafkaException

from chargeline.domain.errors import AbortRequired, ChargelineError, Fault, Fenced, LogTruncated, TransientError

_FENCED = {
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.TRANSACTION_COORDINATOR_FENCED,
}
_NOT_A_MEMBER = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._ASSIGNMENT_LOST,
}
_OUT_OF_RANGE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
# Waiting does not mend these: a person must look. An unknown partition is none of them: a broker that has just started
# may not know its partitions yet.
_FINAL = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.MSG_SIZE_TOO_LARGE,
}


def translate(error: KafkaError, doing: str) -> ChargelineError:
    """The error of ours that says what the caller may do. `doing` completes "while …"."""
    text = f"{error.str()} ({error.name()}) while {doing}"
    code = error.code()
    if code in _FENCED or code in _NOT_A_MEMBER:
        return Fenced(text)
    if error.txn_requires_abort():
        return AbortRequired(text)
    if code in _OUT_OF_RANGE:
        return LogTruncated(f"{text}: the log does not hold the next offset any more; see docs/operations.md")
    if error.fatal() or code in _FINAL:
        return Fault(text)
    return TransientError(text)


def translated(exception: KafkaException, doing: str) -> ChargelineError:
    """`translate` for what the client raises."""
    return translate(exception.args[0], doing)
