"""The servers' files: Kafka's and the registry's jars from Maven Central, kept in a cache and checked by checksum."""

import hashlib
import os
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor, wait
from importlib.resources import files
from pathlib import Path

from jgo import MAVEN_CENTRAL_URL, EnvironmentBuilder, MavenContext
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from chargeline.domain.errors import Fault

KAFKA = "org.apache.kafka:kafka_2.13:4.1.1+org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!"
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.0.9")
_TRIES = 3
_DOWNLOAD_MB = 153  # 44 for Kafka's jars, 109 for the registry


def cache_dir() -> Path:
    """Where downloads are kept, outside any data directory: CHARGELINE_CACHE_DIR or the user's cache."""
    given = os.environ.get("CHARGELINE_CACHE_DIR")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chargeline"
    base.mkdir(parents=True, exist_ok=True)
    return base


def fetch() -> None:
    """Download whatever is missing, with a progress bar; nothing is asked of the network if all is there."""
    if is_complete():
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} MB"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar, ThreadPoolExecutor(1) as thread:
        task = bar.add_task("downloading Kafka and the schema registry", total=_DOWNLOAD_MB)
        done = thread.submit(lambda: (kafka_jars(), registry_home()))
        while not done.done():
            files_now = [path for path in (cache_dir() / "m2").rglob("*") if path.is_file()]
            bar.update(task, completed=sum(path.stat().st_size for path in files_now if path.exists()) / 1e6)
            wait([done], timeout=0.5)
        bar.update(task, completed=_DOWNLOAD_MB)
        done.result()


def is_complete() -> bool:
    """Whether everything was downloaded before; the checksums of the jars are looked at when they are used."""
    return (cache_dir() / "jgo").exists() and (registry_home_path() / ".complete").exists()


def kafka_jars() -> list[Path]:
    """Kafka's class path. Downloads what is missing; raises Fault if a file is not the one that was released."""
    known = _checksums("kafka")
    for _ in range(_TRIES):
        builder = EnvironmentBuilder(context=_maven(), cache_dir=cache_dir() / "jgo")
        environment = builder.from_endpoint(KAFKA)
        jars = [Path(jar) for jar in environment.all_jars]
        bad = [jar for jar in jars if known.get(jar.name) not in (None, _digest(jar))]
        if not bad:
            return sorted(jars)
        # A download that was cut short stays in the cache and would be taken as it is the next time.
        shutil.rmtree(cache_dir() / "jgo", ignore_errors=True)
        for jar in bad:
            for copy in (cache_dir() / "m2").rglob(jar.name):
                copy.unlink()
    raise Fault(f"the download of {bad[0].name} is not the released file: check the network, then try again")


def registry_home() -> Path:
    """The unpacked registry. Raises Fault likewise."""
    group, name, version = REGISTRY
    home = registry_home_path()
    if (home / ".complete").exists():
        return home
    project = _maven().project(group, name)
    archive = Path(project.at_version(version).artifact(classifier="all", packaging="tar.gz").resolve())
    wanted = _checksums("registry").get(archive.name)
    if wanted not in (None, _digest(archive)):
        archive.unlink()
        raise Fault(f"the download of {archive.name} is not the released file: try again")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    with tarfile.open(archive) as packed:
        packed.extractall(home, filter="data")
    (home / ".complete").touch()
    return home


def registry_home_path() -> Path:
    """Where the unpacked registry is, or will be."""
    return cache_dir() / f"{REGISTRY[1]}-{REGISTRY[2]}"


def _maven() -> MavenContext:
    return MavenContext(repo_cache=cache_dir() / "m2", remote_repos={"central": MAVEN_CENTRAL_URL}, timeout=60)


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _checksums(name: str) -> dict[str, str]:
    path = files("chargeline.embedded") / "checksums" / f"{name}.txt"
    if not path.is_file():
        return {}
    lines = (line.split() for line in path.read_text().splitlines() if line)
    return {file: digest for digest, file in lines}
