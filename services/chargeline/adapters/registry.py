"""The schema registry (Confluent's API): schema ids and their texts."""

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from chargeline.domain.errors import Fault, TransientError

_NOT_FOUND = 404
_KNOWN_MAX = 4096


class RegistryAway(TransientError):
    """The registry does not answer, or not now."""

    peer = "registry"


class SchemaRegistry:
    """Caches every definite answer; an id that is not registered is asked for again later."""

    def __init__(self, url: str) -> None:
        self._client = SchemaRegistryClient({"url": url, "timeout": 5})
        self._texts: dict[int, str] = {}

    def schema_of(self, number: int) -> str | None:
        """The schema's text; None: the registry says that there is none. Raises TransientError if it is away."""
        if number in self._texts:
            return self._texts[number]
        try:
            text = self._client.get_schema(number).schema_str
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise RegistryAway(f"schema registry: {error}") from error
        except Exception as error:  # the HTTP library's own errors: connection refused, time-outs
            raise RegistryAway(f"schema registry: {error}") from error
        if text is None:
            raise Fault(f"schema {number} has no text")
        if len(self._texts) < _KNOWN_MAX:
            self._texts[number] = text
        return text

    def ping(self) -> None:
        """Ask whether it answers. Raises TransientError."""
        self.id_of("usage-events-value")

    def register(self, subject: str, text: str) -> int:
        """Register a version of a subject, kept readable for all older data; its id."""
        try:
            number = self._client.register_schema(subject, Schema(text, "AVRO"))
            self._client.set_compatibility(subject, "BACKWARD_TRANSITIVE")
        except SchemaRegistryError as error:
            raise Fault(f"{subject} was refused by the schema registry: {error}") from error
        except Exception as error:
            raise RegistryAway(f"schema registry: {error}") from error
        return number

    def id_of(self, subject: str) -> int | None:
        """The id of the subject's newest version; None: not registered. Raises TransientError if it is away."""
        try:
            return self._client.get_latest_version(subject).schema_id
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise RegistryAway(f"schema registry: {error}") from error
        except Exception as error:
            raise RegistryAway(f"schema registry: {error}") from error
