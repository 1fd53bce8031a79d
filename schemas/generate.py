"""Make the code that follows from the schemas: `make schemas` writes it, `make schemas-check` fails on a difference.

Writes wire/_generated.py (schema texts, topics, ClickHouse columns; no heavy import, the sdk uses it) and
wire/_arrow.py (Arrow schemas of the columnar records).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent
WIRE = ROOT.parent / "services" / "chargeline" / "wire"
HEADER = '"""Made by `make schemas` from schemas/; do not edit."""\n\n'
COLUMNAR = ("charge", "cost_rollup", "performance_rollup")


def schemas() -> dict[str, dict[str, Any]]:
    """The newest version of each record by folder name."""
    newest = {}
    for folder in sorted((ROOT / "events").iterdir()):
        versions = sorted(folder.glob("v*.avsc"), key=lambda path: int(path.stem[1:]))
        newest[folder.name] = json.loads(versions[-1].read_text())
    return newest


def topics() -> dict[str, dict[str, Any]]:
    """The topic files by topic name."""
    found = {}
    for path in sorted((ROOT / "topics").glob("*.yaml")):
        topic = yaml.safe_load(path.read_text())
        found[topic["topic"]] = topic
    return found


class Types:
    """Types of one record's fields; named types may be used again by name."""

    def __init__(self) -> None:
        self._named: dict[str, Any] = {}

    def plain(self, kind: Any) -> tuple[Any, bool]:
        """(type without null, whether null is allowed)."""
        nullable = isinstance(kind, list) and "null" in kind
        if nullable:
            kind = next(branch for branch in kind if branch != "null")
        if isinstance(kind, str):
            kind = self._named.get(kind, {"type": kind})
        if isinstance(kind, dict) and "name" in kind:
            self._named[kind["name"]] = kind
        return kind, nullable

    def arrow(self, field: dict[str, Any]) -> str:
        kind, nullable = self.plain(field["type"])
        return f'pa.field("{field["name"]}", {self._arrow_type(kind, field)}, nullable={nullable})'

    def _arrow_type(self, kind: dict[str, Any], field: dict[str, Any]) -> str:
        logical = {
            "timestamp-micros": 'pa.timestamp("us", "UTC")',
            "timestamp-millis": 'pa.timestamp("ms", "UTC")',
            "decimal": f"pa.decimal128({kind.get('precision')}, {kind.get('scale')})",
        }
        if "logicalType" in kind:
            return logical[kind["logicalType"]]
        name = kind["type"]
        if name == "enum" or (name == "string" and field.get("arrow") == "dictionary"):
            return "pa.dictionary(pa.int32(), pa.string())"
        if name == "fixed":
            return f"pa.binary({kind['size']})"
        if name == "map":
            return f"pa.map_(pa.string(), {self._arrow_type({'type': kind['values']}, {})})"
        if name == "array":
            items, _ = self.plain(kind["items"])
            inner = ", ".join(self.arrow(each) for each in items["fields"])
            return f"pa.list_(pa.struct([{inner}]))"
        simple = {"string": "string", "long": "int64", "int": "int32", "double": "float64", "boolean": "bool_"}
        return f"pa.{simple[name]}()"

    def clickhouse(self, field: dict[str, Any]) -> list[tuple[str, str]]:
        kind, nullable = self.plain(field["type"])
        if kind["type"] == "array":
            items, _ = self.plain(kind["items"])
            return [
                (f"{field['name']}.{name}", f"Array({inner})")
                for each in items["fields"]
                for name, inner in self.clickhouse(each)
            ]
        return [(field["name"], self._clickhouse_type(kind, field, nullable=nullable))]

    def _clickhouse_type(self, kind: dict[str, Any], field: dict[str, Any], *, nullable: bool) -> str:
        logical = {
            "timestamp-micros": "DateTime64(6, 'UTC')",
            "timestamp-millis": "DateTime64(3, 'UTC')",
            "decimal": f"Decimal({kind.get('precision')}, {kind.get('scale')})",
        }
        name = kind["type"]
        if "logicalType" in kind:
            inner = logical[kind["logicalType"]]
        elif name == "map":
            return f"Map(String, {'Int64' if kind['values'] == 'long' else 'String'})"
        elif name == "fixed":
            inner = f"FixedString({kind['size']})"
        elif name == "enum" or (name == "string" and field.get("arrow") == "dictionary"):
            return "LowCardinality(Nullable(String))" if nullable else "LowCardinality(String)"
        else:
            inner = {"string": "String", "long": "Int64", "int": "Int32", "double": "Float64", "boolean": "Bool"}[name]
        return f"Nullable({inner})" if nullable else inner


def generated() -> str:
    lines = [HEADER, "from typing import Any, Final\n\n"]
    found = schemas()
    for name, schema in found.items():
        lines.append(f"{name.upper()}_SCHEMA: Final = {json.dumps(schema, ensure_ascii=False)!r}\n")
    lines.append("\nSCHEMAS: Final[dict[str, str]] = {\n")
    lines += [f"    {name!r}: {name.upper()}_SCHEMA,\n" for name in found]
    lines.append("}\n\n# ClickHouse columns of each table, in the order of the schema.\n")
    lines.append("COLUMNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {\n")
    for name, schema in found.items():
        if name in (*COLUMNAR, "dead_letter"):
            types = Types()
            lines.append(f"    {name!r}: (\n")
            lines += [f"        {pair!r},\n" for field in schema["fields"] for pair in types.clickhouse(field)]
            lines.append("    ),\n")
    lines.append("}\n\nTOPICS: Final[dict[str, dict[str, Any]]] = {\n")
    lines += [f"    {name!r}: {topic!r},\n" for name, topic in topics().items()]
    lines.append("}\n")
    return "".join(lines)


def arrow() -> str:
    lines = [HEADER, "import pyarrow as pa\n"]
    for name, schema in schemas().items():
        if name in COLUMNAR:
            types = Types()
            lines.append(f"\n{name.upper()} = pa.schema(\n    [\n")
            lines += [f"        {types.arrow(field)},\n" for field in schema["fields"]]
            lines.append("    ]\n)\n")
    return "".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    check = parser.parse_args().check
    stale = []
    for name, text in (("_generated.py", generated()), ("_arrow.py", arrow())):
        path = WIRE / name
        if check:
            if not path.exists() or path.read_text() != text:
                stale.append(name)
        else:
            path.write_text(text)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `make schemas`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
