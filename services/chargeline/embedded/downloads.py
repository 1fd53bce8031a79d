"""The servers' files: Kafka's and the registry's jars from Maven Central, kept in a cache and checked by checksum."""

import hashlib
import os
import shutil
import tarfile
from importlib.resources import files
from pathlib import Path

from jgo import MAVEN_CENTRAL_URL, EnvironmentBuilder, MavenContext

from chargeline.domain.errors import Fault

KAFKA = "org.apache.kafka:kafka_2.13:4.1.1+org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!"
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.0.9")
_TRIES = 3


def cache_dir() -> Path:
    """Where downloads are kept, outside any data directory: CHARGELINE_CACHE_DIR or the user's cache."""
    given = os.environ.get("CHARGELINE_CACHE_DIR")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chargeline"
    base.mkdir(parents=True, exist_ok=True)
    return base


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
    home = cache_dir() / f"{name}-{version}"
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
