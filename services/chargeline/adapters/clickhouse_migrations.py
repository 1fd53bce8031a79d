"""Numbered forward migrations of the ClickHouse tables, the same for the embedded engine and for production."""

import hashlib
import re
from pathlib import Path

from chargeline.adapters.clickhouse import ClickHouse
from chargeline.domain.errors import Refused

# A link to deploy/clickhouse in a checkout; in an installed package the files themselves.
FOLDER = Path(__file__).resolve().parents[1] / "migrations"
_WINDOW_BLOCKS = 100_000
_WINDOW_S = 7 * 86_400
# A block of some thousand rows and a hundred columns is one file, not hundreds, and so is what the first merge makes
# of it. Forty parts are merged at a time: each row is written again once in a hundred thousand, not every few blocks.
# Statistics of every column would be made again by every merge, for a planner that does not need them here.
_PARTS = (
    "min_bytes_for_wide_part = 268435456, min_parts_to_merge_at_once = 40, "
    "merge_selector_enable_heuristic_to_lower_max_parts_to_merge_at_once = 0, auto_statistics_types = ''"
)


def migrate(url: str, user: str, password: str, *, replicated: bool = False, production: bool = False) -> list[str]:
    """Apply the migrations that were not applied yet.

    Returns:
        The names of those applied now.

    Raises:
        Refused: MIGRATION_CHANGED, an applied file is not what it was; NO_MIGRATIONS, the package is not whole.
    """
    warehouse = ClickHouse(url, user, password)
    warehouse.command(
        "CREATE TABLE IF NOT EXISTS schema_migrations (name String, checksum String, applied DateTime DEFAULT now()) "
        f"ENGINE = {'Replicated' if replicated else ''}MergeTree ORDER BY name"
    )
    known = _applied(warehouse)
    applied = []
    for path in _files(production=production):
        text = path.read_text()
        name = f"{path.parent.name}/{path.name}" if production and path.parent.name == "production" else path.name
        digest = hashlib.sha256(text.encode()).hexdigest()
        if name in known:
            if known[name] != digest:
                raise Refused("MIGRATION_CHANGED", f"{name} was applied and then edited: add a new migration instead")
            continue
        for statement in _statements(text, replicated=replicated):
            warehouse.command(statement)
        warehouse.command(f"INSERT INTO schema_migrations (name, checksum) VALUES ('{name}', '{digest}')")
        applied.append(name)
    warehouse.close()
    return applied


def missing(warehouse: ClickHouse) -> list[str]:
    """The names of the migrations that were not applied. Raises Fault if none ever was."""
    known = _applied(warehouse)
    return [path.name for path in _files(production=False) if path.name not in known]


def _applied(warehouse: ClickHouse) -> dict[str, str]:
    rows = warehouse.query("SELECT name, checksum FROM schema_migrations").to_pylist()
    return {_text(row["name"]): _text(row["checksum"]) for row in rows}


def _files(*, production: bool) -> list[Path]:
    files = sorted(FOLDER.glob("[0-9]*.sql"))
    if not files:
        raise Refused("NO_MIGRATIONS", f"{FOLDER} holds no migrations: install the package again")
    return files + (sorted((FOLDER / "production").glob("[0-9]*.sql")) if production else [])


def _statements(text: str, *, replicated: bool) -> list[str]:
    prefix = "Replicated" if replicated else "non_replicated"
    deduplication = (
        f"replicated_deduplication_window = {_WINDOW_BLOCKS}, replicated_deduplication_window_seconds = {_WINDOW_S}"
        if replicated
        else f"{prefix}_deduplication_window = {_WINDOW_BLOCKS}"
    )
    filled = (
        re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
        .replace("{merge_tree}", f"{'Replicated' if replicated else ''}MergeTree")
        .replace("{replacing}", f"{'Replicated' if replicated else ''}ReplacingMergeTree")
        .replace("{parts}", _PARTS)
        .replace("{deduplication}", deduplication)
    )
    return [statement.strip() for statement in filled.split(";\n") if statement.strip()]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
