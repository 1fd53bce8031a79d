"""Holds the tables of ClickHouse against sums of what was booked, one partition at a time."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from chargeline.ports import Warehouse
from chargeline.verify.rating.numbers import picos

Key = tuple[Any, ...]
_STORED = {
    "charges": "SELECT billing_account_id AS a, billing_currency AS c, toUnixTimestamp(window_start) AS w, "
    "nullIf(sku, '') AS s, sum(assumeNotNull(cost)) AS b FROM charges "
    "ARRAY JOIN `entries.sku_id` AS sku, `entries.billed_cost` AS cost "
    "WHERE source_partition = {p:Int32} AND unit_end <= {e:Int64} GROUP BY a, c, w, s HAVING b != 0",
    "cost_rollups": "SELECT billing_account_id AS a, billing_currency AS c, toUnixTimestamp(window_start) AS w, "
    "sku_id AS s, sum(billed_cost) AS b FROM cost_rollups "
    "WHERE source_partition = {p:Int32} AND unit_end <= {e:Int64} GROUP BY a, c, w, s HAVING b != 0",
}


class Difference(Exception):
    """What was booked is not what must have been; the text names the place, what was expected and what was found."""


def unlike(found: Mapping[Key, int], wanted: Mapping[Key, int]) -> Iterator[tuple[Key, int, int]]:
    """(key, what was found, what is wanted) where the two differ; what is not there is 0."""
    for key in {*found, *wanted}:
        one, other = found.get(key, 0), wanted.get(key, 0)
        if one != other:
            yield key, one, other


class Tables:
    """The rows of `charges` and `cost_rollups` that come from one partition."""

    def __init__(self, warehouse: Warehouse, partition: int) -> None:
        self._warehouse = warehouse
        self._partition = partition

    def stored_end(self) -> int:
        """The smallest of the tables' largest unit ends; 0: one of them is empty."""
        ends = [
            self._asked(f"SELECT max(unit_end) AS e FROM {table} WHERE source_partition = {{p:Int32}}")[0]["e"]
            for table in ("charges", "cost_rollups")
        ]
        return min(end or 0 for end in ends)

    def check(self, ends: list[tuple[int, int]], panes: Counter[int], kept: list[dict[Key, int]]) -> int | None:
        """Compare up to the smallest stored unit end; a newest unit that is still being stored is left out.

        Args:
            ends: (end, rows of `charges`) of each unit up to the stored end, in order.
            panes: how many a unit has, by its end.
            kept: the sums of what was booked up to the last two of these ends, picounits.

        Returns:
            The end up to which the tables were compared; null: no unit is whole in them.

        Raises:
            Difference: rows are missing, stand twice, or sum to something else.
        """
        if not ends or not kept:
            return None
        end, charges = ends[-1]
        whole = self._rows("charges", end) == charges and self._rows("cost_rollups", end) == panes[end]
        if not whole and len(ends) == 1:
            return None
        limit, sums = end if whole else ends[-2][0], kept[-1] if whole or len(kept) == 1 else kept[-2]
        counts = self._asked(
            "SELECT count() AS n, uniqExact(source_partition, source_offset, source_index) AS u FROM charges "
            "WHERE source_partition = {p:Int32}"
        )[0]
        if counts["n"] != counts["u"]:
            raise Difference(
                f"ClickHouse charges, partition {self._partition}: {counts['n']} rows, {counts['u']} coordinates"
            )
        wanted = {key: amount for key, amount in sums.items() if amount}
        for table in ("charges", "cost_rollups"):
            for key, found, expected in unlike(self._sums(table, limit), wanted):
                raise Difference(
                    f"ClickHouse {table}, partition {self._partition}, (account, currency, day, SKU, window) "
                    f"{key}, up to offset {limit}: {found}, expected {expected}"
                )
        return limit

    def _rows(self, table: str, unit_end: int) -> int:
        sql = f"SELECT count() AS n FROM {table} WHERE source_partition = {{p:Int32}} AND unit_end = {{e:Int64}}"
        return int(self._asked(sql, e=unit_end)[0]["n"])

    def _sums(self, table: str, limit: int) -> dict[Key, int]:
        return {
            (_text(row["a"]), _text(row["c"]), row["w"] // 86_400, _text(row["s"]), row["w"] * 1_000_000): picos(
                row["b"]
            )
            for row in self._asked(_STORED[table], e=limit)
        }

    def _asked(self, sql: str, **parameters: int) -> list[dict[str, Any]]:
        return self._warehouse.query(sql, {"p": self._partition, **parameters}).to_pylist()


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
