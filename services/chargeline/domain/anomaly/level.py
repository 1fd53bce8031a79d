"""Value and level: is a row higher, lower or more of a jump than usual, and have the last 24 left the level before?"""

from array import array

from chargeline.domain.anomaly.history import History

RECENT = 24  # rows of the recent level
BEFORE = 1000  # rows of the level before them
_LEAST = 100  # rows before a level is known


class Value:
    """The value itself, high or low, and the jump from the row before: the mean of both surprises."""

    token_length = 4

    def __init__(self, history_rows: int) -> None:
        self.small = array("d", [0.0, 0.0])  # rows, last value
        self.values = History(history_rows)
        self.jumps = History(history_rows)

    def step(self, value: float, floor: float) -> tuple[float, "array[float]"]:
        """Judge and learn a row; returns the surprise and the token for `undo`."""
        small = self.small
        token = small[:]
        surprise = max(self.values.above(value, floor), self.values.below(value, floor))
        token.append(self.values.push(value))
        gone = 0.0
        if small[0]:
            jump = abs(value - small[1])
            surprise = (surprise + self.jumps.above(jump, floor)) / 2.0
            gone = self.jumps.push(jump)
        token.append(gone)
        small[0] += 1.0
        small[1] = value
        return surprise, token

    def undo(self, token: "array[float]") -> None:
        """Take the last step back."""
        self.small = token[:2]
        self.values.undo(token[2])
        if token[0]:
            self.jumps.undo(token[3])


class Level:
    """Mean of the last 24 rows against median and 10-90 % spread of the 1,000 before them."""

    token_length = RECENT + 3

    def __init__(self, history_rows: int) -> None:
        self.small = array("d", [0.0] * (RECENT + 1))  # the last 24 values as a ring, rows
        self.before = History(BEFORE)
        self.shifts = History(history_rows)

    def step(self, value: float, floor: float) -> tuple[float, "array[float]"]:
        """Judge and learn a row; returns the surprise and the token for `undo`."""
        small = self.small
        token = small[:]
        rows = int(small[RECENT])
        place = rows % RECENT
        oldest, small[place] = small[place], value
        small[RECENT] = rows + 1.0
        if rows < RECENT:
            token.extend((0.0, 0.0))
            return 0.0, token
        token.append(self.before.push(oldest))
        ordered = self.before.ordered
        known = len(ordered)
        surprise = gone = 0.0
        if known >= _LEAST:
            spread = max(ordered[int(known * 0.9)] - ordered[int(known * 0.1)], floor)
            recent = sum(small[:RECENT])
            shift = abs(recent / RECENT - ordered[known // 2]) / spread if spread > 0.0 else 0.0
            surprise = self.shifts.above(shift)
            gone = self.shifts.push(shift)
        token.append(gone)
        return surprise, token

    def undo(self, token: "array[float]") -> None:
        """Take the last step back."""
        if self.small[RECENT] > RECENT:
            if len(self.before.ordered) >= _LEAST:
                self.shifts.undo(token[RECENT + 2])
            self.before.undo(token[RECENT + 1])
        self.small = token[: RECENT + 1]
