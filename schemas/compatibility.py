"""Whether a new version of a record may be released: everything written before must still mean the same.

Stricter than Avro's own check, which lets a decimal's scale change and so turns 1.2345 into 0.000012345.
"""

from typing import Any

_FROZEN = ("logicalType", "precision", "scale", "size")


def violations(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What a reader with `new` would get wrong in data of `old`; empty: compatible."""
    found: list[str] = []
    before = {field["name"]: field for field in old["fields"]}
    after = {field["name"]: field for field in new["fields"]}
    found += [f"{name} was removed" for name in before.keys() - after.keys()]
    for name, field in after.items():
        if name not in before:
            if "default" not in field:
                found.append(f"{name} is new and has no default")
            continue
        found += [f"{name}: {what}" for what in _types(before[name]["type"], field["type"])]
        if before[name].get("unit") != field.get("unit"):
            found.append(f"{name}: its unit changed")
    return found


def _types(old: Any, new: Any) -> list[str]:
    if isinstance(old, list) or isinstance(new, list):
        if not isinstance(old, list) or not isinstance(new, list):
            return ["null was added or taken away"]
        if len(new) < len(old):
            return ["a branch was removed"]
        return [what for one, two in zip(old, new, strict=False) for what in _types(one, two)]
    if isinstance(old, str) or isinstance(new, str):
        return [] if old == new else [f"the type changed from {old} to {new}"]
    if old["type"] != new["type"]:
        return [f"the type changed from {old['type']} to {new['type']}"]
    found = [f"{key} changed from {old.get(key)} to {new.get(key)}" for key in _FROZEN if old.get(key) != new.get(key)]
    if old["type"] == "enum" and new["symbols"][: len(old["symbols"])] != old["symbols"]:
        found.append("symbols were removed or moved")
    if old["type"] == "record":
        found += violations(old, new)
    for part in ("items", "values"):
        if part in old:
            found += _types(old[part], new[part])
    return found
