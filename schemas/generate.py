"""Make the code that follows from the schemas: `make schemas` writes it, `make schemas-check` fails on a difference.

Writes wire/_generated.py (schema texts, topics, ClickHouse columns; no heavy import, the sdk uses it) and
wire/_arrow.py (Arrow schemas of the columnar records).
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import fastavro
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
            return [(f"{field['name']}.{each['name']}", self._array(each, field["name"])) for each in items["fields"]]
        default = _default(field.get("left_out"))
        return [(field["name"], self._clickhouse_type(kind, field, nullable=nullable) + default)]

    def _array(self, field: dict[str, Any], outer: str) -> str:
        kind, nullable = self.plain(field["type"])
        column = f"Array({self._clickhouse_type(kind, field, nullable=nullable)})"
        default = field.get("left_out")
        if isinstance(default, dict) and default:
            return f"{column} DEFAULT `{outer}.{default['same_as']}`"
        if default is None and not nullable:
            return column
        # Any column that every entry has tells how many entries there are.
        return f"{column} DEFAULT arrayMap(x -> {'NULL' if default is None else repr(default)}, `{outer}.leaf`)"

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


def _default(left_out: Any) -> str:
    """The table's default for a column that a message leaves out, where it is not ClickHouse's own."""
    if isinstance(left_out, dict) and left_out:
        return f" DEFAULT {left_out['same_as']}"
    if isinstance(left_out, str):
        return f" DEFAULT '{left_out}'"
    return f" DEFAULT {left_out}" if left_out else ""


def left_out(schema: dict[str, Any]) -> dict[str, Any]:
    """What the rows of a message hold in a column that the message leaves out; entries by their dotted names."""
    types, found = Types(), {}
    for field in schema["fields"]:
        kind, nullable = types.plain(field["type"])
        if nullable or "left_out" in field:
            found[field["name"]] = field.get("left_out")
        if kind["type"] == "array":
            inner = left_out(types.plain(kind["items"])[0])
            found |= {f"{field['name']}.{name}": value for name, value in inner.items()}
    return found


class Records:
    """The records of the schemas as TypedDicts; times are integers in the unit of their logical type."""

    def __init__(self) -> None:
        self._types = Types()
        self.lines: list[str] = []
        self._done: set[str] = set()

    def add(self, schema: dict[str, Any]) -> str:
        """The class of a record, after those of the records inside it."""
        name = str(schema["name"])
        if name not in self._done:
            self._done.add(name)
            fields = [f"    {field['name']}: {self._type(field['type'])}\n" for field in schema["fields"]]
            self.lines += [f"class {name}(TypedDict):\n", *fields, "\n\n"]
        return name

    def _type(self, given: Any) -> str:
        if isinstance(given, list) and sum(branch != "null" for branch in given) > 1:
            return " | ".join(self._type(branch) for branch in given)
        kind, nullable = self._types.plain(given)
        name = kind["type"]
        if kind.get("logicalType") == "decimal":
            found = "Decimal"
        elif name == "record":
            found = self.add(kind)
        elif name == "array":
            found = f"list[{self._type(kind['items'])}]"
        elif name == "map":
            found = f"dict[str, {self._type(kind['values'])}]"
        else:
            plain = {"string": "str", "enum": "str", "long": "int", "int": "int", "double": "float", "fixed": "bytes",
                     "boolean": "bool"}  # fmt: skip
            found = plain[name]
        return f"{found} | None" if nullable else found


def generated() -> str:
    lines = [HEADER, "from decimal import Decimal\nfrom typing import Any, Final, TypedDict\n\n"]
    found = schemas()
    for name, schema in found.items():
        lines.append(f"{name.upper()}_SCHEMA: Final = {json.dumps(schema, ensure_ascii=False)!r}\n")
    lines.append("\nSCHEMAS: Final[dict[str, str]] = {\n")
    lines += [f"    {name!r}: {name.upper()}_SCHEMA,\n" for name in found]
    lines.append(
        "}\n\n# Hex sha256 of each schema's parsing canonical form: what is on the wire, without words about it.\n"
    )
    lines.append("FINGERPRINTS: Final[dict[str, str]] = {\n")
    for name, schema in found.items():
        form = fastavro.schema.to_parsing_canonical_form(json.loads(json.dumps(schema)))
        lines.append(f"    {name!r}: {hashlib.sha256(form.encode()).hexdigest()!r},\n")
    lines.append("}\n\n# ClickHouse columns of each table, in the order of the schema.\n")
    lines.append("COLUMNS: Final[dict[str, tuple[tuple[str, str], ...]]] = {\n")
    for name, schema in found.items():
        if name in (*COLUMNAR, "dead_letter"):
            types = Types()
            lines.append(f"    {name!r}: (\n")
            lines += [f"        {pair!r},\n" for field in schema["fields"] for pair in types.clickhouse(field)]
            lines.append("    ),\n")
    lines.append("}\n\n# A columnar message leaves out a column whose rows all hold this (wire/left_out.py).\n")
    lines.append("LEFT_OUT: Final[dict[str, dict[str, Any]]] = {\n")
    lines += [f"    {found[name]['name']!r}: {left_out(found[name])!r},\n" for name in COLUMNAR]
    lines.append("}\n\nTOPICS: Final[dict[str, dict[str, Any]]] = {\n")
    lines += [f"    {name!r}: {topic!r},\n" for name, topic in topics().items()]
    lines.append("}\n\n\n")
    records = Records()
    for schema in found.values():
        records.add(schema)
    return "".join(lines + records.lines).rstrip() + "\n"


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
