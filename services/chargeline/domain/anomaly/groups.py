"""The groups of the panes, numbered, and the series that each of them belongs to. Grows with what is seen."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from chargeline.domain.anomaly.panes import CURRENCY, DIMENSIONS, Panes

Ints = npt.NDArray[np.int64]
_NULL = -1
_ROOM = 1024
COLUMNS = (*DIMENSIONS, CURRENCY)
_CURRENCY = len(DIMENSIONS)


class Texts:
    """The distinct values of one dimension, numbered."""

    def __init__(self, values: Sequence[str] = ()) -> None:
        self.values = list(values)
        self._codes = {value: code for code, value in enumerate(self.values)}

    def code_all(self, values: Sequence[str]) -> list[int]:
        """The number of each value, new ones if need be."""
        for value in dict.fromkeys(value for value in values if value not in self._codes):
            self._codes[value] = len(self.values)
            self.values.append(value)
        return list(map(self._codes.__getitem__, values))

    def text(self, code: int) -> str | None:
        """The value of a number; None for null."""
        return None if code < 0 else self.values[code]


class Groups:
    """Numbers groups from 0. A group is a combination of all dimensions and a currency.

    Panes of performance know no currency: they belong to the first group of their dimensions, and so does what was
    not priced.

    Attributes:
        codes: int32 (len(COLUMNS), room), codes of each group's values in `texts`.
        last_window: int64, start of the newest window in which the group was seen, microseconds.
        fresh: groups whose series are not known yet.
        unit: int64 (2, room), start and end offset of the newest commit unit that brought something of the group.
    """

    def __init__(self) -> None:
        self.texts = {name: Texts() for name in COLUMNS}
        self.size = 0
        self.fresh: list[int] = []
        self.codes = np.full((len(COLUMNS), _ROOM), _NULL, np.int32)
        self.last_window = np.zeros(_ROOM, np.int64)
        self.unit = np.zeros((2, _ROOM), np.int64)
        self._numbers: dict[bytes, int] = {}
        self._first: dict[bytes, int] = {}  # by the dimensions alone

    def number(self, panes: Panes) -> Ints:
        """The group of each pane. Groups that are new, or have a currency from now on, are added to `fresh`."""
        codes = np.full((len(panes), len(COLUMNS)), _NULL, np.int32)
        for place, name in enumerate(COLUMNS):
            if name in panes.texts:
                codes[:, place] = self._recoded(panes, name)
        priced = codes[:, _CURRENCY] != _NULL
        groups = np.full(len(panes), -1, np.int64)
        for of, known, width in ((priced, self._numbers, len(COLUMNS)), (~priced, self._first, _CURRENCY)):
            rows = np.flatnonzero(of)
            found = map(known.get, _keys(codes[rows, :width]))
            groups[rows] = [-1 if number is None else number for number in found]
        # What is not known yet.
        rows = np.flatnonzero(groups < 0)
        keys, dimensions = _keys(codes[rows]), _keys(codes[rows, :_CURRENCY])
        for place, row in enumerate(rows.tolist()):
            groups[row] = self._place(keys[place], dimensions[place], codes[row], is_priced=bool(priced[row]))
        return groups

    def describe(self, group: int) -> dict[str, str | None]:
        """The values of a group by column."""
        return {name: self.texts[name].text(int(self.codes[place, group])) for place, name in enumerate(COLUMNS)}

    def only(self, name: str, groups: Ints) -> str | None:
        """The value of a column that all of these groups have; None: there are several, or null."""
        codes = np.unique(self.codes[COLUMNS.index(name), groups])
        return self.texts[name].text(int(codes[0])) if len(codes) == 1 else None

    def keep(self, kept: Ints) -> Ints:
        """Forget all groups but these (ascending). Returns the new number of each old one, -1 for those forgotten."""
        number = np.full(self.size, -1, np.int64)
        number[kept] = np.arange(len(kept))
        self.codes, self.last_window = self.codes[:, kept], self.last_window[kept]
        self.unit = self.unit[:, kept]
        self.size = len(kept)
        for place, name in enumerate(COLUMNS):
            codes = self.codes[place]
            used = np.unique(codes[codes >= 0])
            fresh = np.full(len(self.texts[name].values) + 1, _NULL, np.int32)
            fresh[used] = np.arange(len(used))
            self.texts[name] = Texts([self.texts[name].values[code] for code in used.tolist()])
            self.codes[place] = fresh[codes]
        self.index()
        return number

    def index(self) -> None:
        """Make the look-up anew from `codes`."""
        rows = np.ascontiguousarray(self.codes[:, : self.size].T)
        self._numbers = {key: number for number, key in enumerate(_keys(rows))}
        self._first = {}
        for number, key in enumerate(_keys(np.ascontiguousarray(rows[:, :_CURRENCY]))):
            self._first.setdefault(key, number)

    def _recoded(self, panes: Panes, name: str) -> npt.NDArray[np.int32]:
        text = panes.texts[name]
        known = self.texts[name]
        fresh = np.array([*known.code_all(text.values.to_pylist()), _NULL], np.int32)
        return fresh[text.codes]  # -1, null, finds the last one

    def _place(self, key: bytes, dimensions: bytes, codes: npt.NDArray[np.int32], *, is_priced: bool) -> int:
        known = self._numbers.get(key)
        if known is not None and is_priced:
            return known
        first = self._first.get(dimensions)
        if first is not None:
            if not is_priced:
                return first
            if self.codes[_CURRENCY, first] == _NULL:
                self.codes[_CURRENCY, first] = codes[_CURRENCY]
                self._numbers[key] = first
                self.fresh.append(first)
                return first
        return self._append(key, dimensions, codes)

    def _append(self, key: bytes, dimensions: bytes, codes: npt.NDArray[np.int32]) -> int:
        number = self.size
        if number == self.codes.shape[1]:
            more = max(number, _ROOM)
            self.codes = np.concatenate([self.codes, np.full((len(COLUMNS), more), _NULL, np.int32)], axis=1)
            self.last_window = np.concatenate([self.last_window, np.zeros(more, np.int64)])
            self.unit = np.concatenate([self.unit, np.zeros((2, more), np.int64)], axis=1)
        self.codes[:, number] = codes
        self._numbers[key] = number
        self._first.setdefault(dimensions, number)
        self.size = number + 1
        self.fresh.append(number)
        return number


def _keys(codes: npt.NDArray[np.int32]) -> list[bytes]:
    """Each row as bytes."""
    rows = np.ascontiguousarray(codes)
    return rows.view(f"V{rows.shape[1] * 4}").ravel().tolist()
