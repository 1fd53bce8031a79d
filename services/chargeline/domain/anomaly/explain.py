"""Why a row is an alert: a sentence with numbers for each leg that is beyond its usual 95 %."""

from chargeline.domain.anomaly import light
from chargeline.domain.anomaly.blocks import LENGTH
from chargeline.domain.anomaly.detector import BLOCK_ROWS, Detector, Verdict
from chargeline.domain.anomaly.history import History
from chargeline.domain.anomaly.level import RECENT
from chargeline.domain.anomaly.parameters import LEGS

WORTH_TELLING = 1.3  # surprise: once in twenty rows


def explain(detector: Detector, time_s: float, verdict: Verdict) -> list[str]:
    """Sentences about the row judged last, most surprising first.

    Args:
        detector: right after the `step` that gave the verdict; histories hold the row itself.
        time_s, verdict: of that row.
    """
    about = {"value": _value, "seasonal": _seasonal, "pattern": _pattern, "level": _level, "shape": _shape}
    told = [
        (surprise, about[leg](detector, time_s))
        for leg, surprise in zip(LEGS, verdict.legs, strict=True)
        if surprise >= WORTH_TELLING
    ]
    if verdict.spend >= WORTH_TELLING:
        told.append((verdict.spend, _spend(detector, time_s, verdict)))
    return [text for _, text in sorted(told, key=lambda each: -each[0])]


def _value(detector: Detector, time_s: float) -> str:
    del time_s
    values = detector.value.values
    last = _last(values)
    share = _share_below(values, last)
    side = f"higher than {share:.1%}" if share >= 0.5 else f"lower than {1 - share:.1%}"
    jump = _last(detector.value.jumps) if detector.value.jumps.count else 0.0
    larger = _share_below(detector.value.jumps, jump)
    return (
        f"{last:.6g} is {side} of the last {len(values.ring)} rows; its change of {jump:.6g} from the row before is "
        f"larger than {larger:.1%} of the changes"
    )


def _seasonal(detector: Detector, time_s: float) -> str:
    seasonal = detector.seasonal
    expected = seasonal.expected(time_s)
    usual = "" if expected is None else f" ({expected:.6g} now)"
    long = _last(seasonal.long)
    return (
        f"the last 24 rows lie on average {long:.6g} from what their time usually brings{usual}, further than "
        f"{_share_below(seasonal.long, long):.1%} of the rows before"
    )


def _pattern(detector: Detector, time_s: float) -> str:
    del time_s
    surprises = [blocks.pattern() for blocks in detector.blocks]
    place = surprises.index(max(surprises))
    return _course("course", place, detector.blocks[place].pattern_history)


def _shape(detector: Detector, time_s: float) -> str:
    del time_s
    surprises = [blocks.shape() for blocks in detector.blocks]
    place = surprises.index(max(surprises))
    return _course("shape", place, detector.blocks[place].shape_history)


def _course(what: str, place: int, history: History) -> str:
    far = _last(history)
    return (
        f"the {what} of the last {BLOCK_ROWS[place] * LENGTH} rows was not seen before: its distance of {far:.6g} from "
        f"the third most similar is larger than {_share_below(history, far):.1%} of such distances"
    )


def _level(detector: Detector, time_s: float) -> str:
    del time_s
    level = detector.level
    ordered = level.before.ordered
    mean = sum(level.small[:RECENT]) / RECENT
    middle = ordered[len(ordered) // 2]
    return f"the last 24 rows are {mean:.6g} on average; the median of the {len(ordered)} before them is {middle:.6g}"


def _spend(detector: Detector, time_s: float, verdict: Verdict) -> str:
    expected = detector.spend.expected(time_s)
    last = _last(detector.value.values)
    times = f"{last / expected:.1f} times the usual" if expected > 0 else "above the usual"
    return f"spend is {times} {expected:.6g} of this hour; judged over the {light.SIGNALS[verdict.signal]}"


def _last(history: History) -> float:
    return history.ring[(history.count - 1) % history.size]


def _share_below(history: History, value: float) -> float:
    """Share of a history, the row itself left out, that is smaller."""
    return sum(each < value for each in history.ring) / max(1, len(history.ring) - 1)
