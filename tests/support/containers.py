"""The same servers as containers, where a Docker engine answers."""

from contextlib import contextmanager

REDIS, CLICKHOUSE = "redis:7", "clickhouse/clickhouse-server:25.8"


def docker_missing():
    """Why containers cannot be used here; None if they can."""
    try:
        import docker

        docker.from_env().ping()
    except Exception as error:  # noqa: BLE001 - whatever keeps the engine from answering is the reason
        return f"no Docker engine answers ({type(error).__name__})"
    return None


@contextmanager
def kafka_container():
    """The bootstrap address of a broker."""
    from testcontainers.kafka import KafkaContainer

    broker = KafkaContainer().with_kraft()
    for name in ("OFFSETS_TOPIC_REPLICATION_FACTOR", "TRANSACTION_STATE_LOG_REPLICATION_FACTOR",
                 "TRANSACTION_STATE_LOG_MIN_ISR"):  # fmt: skip
        broker.with_env(f"KAFKA_{name}", "1")
    with broker:
        yield broker.get_bootstrap_server()


@contextmanager
def redis_container():
    """The URL of a Redis with the user `chargeline`."""
    with _container(REDIS, 6379) as (box, address):
        box.exec("redis-cli ACL SETUSER chargeline on >secret ~* &* +@all")
        yield f"redis://{address}/0"


@contextmanager
def clickhouse_container():
    """The URL of a ClickHouse with the user `chargeline`."""
    environment = {"CLICKHOUSE_USER": "chargeline", "CLICKHOUSE_PASSWORD": "secret"}
    with _container(CLICKHOUSE, 8123, environment) as (_, address):
        yield f"http://{address}"


@contextmanager
def _container(image, port, environment=None):
    from testcontainers.core.container import DockerContainer

    box = DockerContainer(image).with_exposed_ports(port)
    for name, value in (environment or {}).items():
        box.with_env(name, value)
    with box:
        yield box, f"{box.get_container_host_ip()}:{box.get_exposed_port(port)}"
