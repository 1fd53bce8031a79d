"""`make bench-anomaly`: the shipped detectors on the NAB files and on synthetic spend, and what the service takes.

Writes bench/results/anomaly.json.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
from bench.anomaly import nab, runaway, synth, synth_measures
from bench.anomaly.cross_validation import cross_validated, points_by_choice

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.domain.anomaly.detector import Detector
from chargeline.domain.anomaly.scoring import Scorer

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CHARGELINE_SHARED_DATA", ROOT.parent / "shared" / "data")) / "nab"
RESULTS = ROOT / "bench" / "results" / "anomaly.json"
SEED = 1
SEEDS = range(1, 13)  # of the light detector alone; 1 to 6 chose its parameters


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--series", type=int, default=300, help="synthetic series")
    options.add_argument("--seed", type=int, default=SEED, help="of the synthetic series")
    options.add_argument("--only", choices=("nab", "synth", "service"), help="one part alone; nothing is written")
    given = options.parse_args()
    results: dict[str, Any] = {}
    if given.only in (None, "nab"):
        results |= on_nab()
    if given.only in (None, "synth"):
        results |= on_synthetic(given.series, given.seed) | on_measures(given.series, given.seed)
        results |= on_seeds(given.series)
    if given.only in (None, "service"):
        results |= on_service()
    print(json.dumps(results, indent=1))
    if given.only is None:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def on_nab() -> dict[str, float | None]:
    """The shipped `default` detector beside the published ones."""
    if not (DATA / "windows.json").exists():
        print(f"NAB: NOT MEASURED, no data in {DATA}; the synthetic part follows")
        return {"nab_standard": None, "nab_low_fp": None, "nab_low_fn": None, "nab_cv": None}
    parameters = shipped_parameters("default")
    files = nab.read(DATA)
    surprises, earned = [], []
    for one in files:
        detector = Detector(parameters)
        moments = [moment.replace(tzinfo=UTC).timestamp() for moment in one.times]
        verdicts = [detector.step(moment, value) for moment, value in zip(moments, one.values, strict=True)]
        surprises.append(np.array([verdict.surprise for verdict in verdicts]))
        earned.append(nab.points(one, [row for row, verdict in enumerate(verdicts) if verdict.is_alert]))
    windows = sum(len(one.windows) for one in files)
    ours = {profile: nab.normalised(earned, windows, profile) for profile in nab.PROFILES}
    table = points_by_choice(files, surprises, parameters.learning_rows)
    print(f"{'NAB, 26 files':20}{'standard':>10}{'low FP':>10}{'low FN':>10}")
    for name, scores in sorted(
        {"chargeline": ours, **nab.references(DATA)}.items(), key=lambda row: -row[1]["standard"]
    ):
        mark = "  <-" if name == "chargeline" else ""
        print(f"{name:20}{scores['standard']:>10.2f}{scores['low_fp']:>10.2f}{scores['low_fn']:>10.2f}{mark}")
    print("standard by threshold, cool-down as shipped:", " ".join(
        f"{choice[0]:.2f}:{nab.normalised(points, windows, 'standard'):.1f}"
        for choice, points in table.items() if choice[1] == parameters.cool_down_rows))  # fmt: skip
    found: dict[str, float | None] = {f"nab_{profile}": round(score, 2) for profile, score in ours.items()}
    return found | {"nab_cv": round(cross_validated(files, table), 2)}


def on_synthetic(count: int, seed: int) -> dict[str, Any]:
    """The shipped `cost` detector and the light one on the same series."""
    series, learning = synth.make(count, seed), shipped_parameters("cost").learning_rows
    full_alerts, full_us, full_bytes = run_full(series)
    light_alerts, light_us, light_bytes = run_light(series)
    full, light = (synth.judge(series, alerts, learning) for alerts in (full_alerts, light_alerts))
    for name, quality in (("full", full), ("light", light)):
        print(f"synthetic, {count} series, {name}: recall {quality.recall:.4f}, precision {quality.precision:.3f}, "
              f"delay {quality.delay:.0f} windows, {quality.false_per_series_week:.4f} false a series and week; "
              + ", ".join(f"{kind} {found}/{there}" for kind, (found, there) in quality.found.items()))  # fmt: skip
    return {
        "synth_series": count,
        "synth_seed": seed,
        "synth_recall": round(full.recall, 4),
        "synth_precision": round(full.precision, 4),
        "synth_false_per_series_week": round(full.false_per_series_week, 4),
        "synth_delay_windows": full.delay,
        "us_per_point": round(full_us, 1),
        "bytes_per_series": full_bytes,
        "light_synth_recall": round(light.recall, 4),
        "light_synth_precision": round(light.precision, 4),
        "light_synth_false_per_series_week": round(light.false_per_series_week, 4),
        "light_synth_delay_windows": light.delay,
        "light_synth_leaks_found": "{}/{}".format(*light.found["leak"]),
        "light_us_per_point": round(light_us, 2),
        "light_bytes_per_series": light_bytes,
    }


def on_seeds(count: int) -> dict[str, float]:
    """The light detector on other series too, mean and worst seed: one seed may be a lucky one."""
    learning = shipped_parameters("cost").learning_rows
    found = []
    for seed in SEEDS:
        series = synth.make(count, seed)
        found.append(synth.judge(series, run_light(series)[0], learning))
    recall = [each.recall for each in found]
    false = [each.false_per_series_week for each in found]
    for seed, quality in zip(SEEDS, found, strict=True):
        print(f"seed {seed}, light: recall {quality.recall:.4f}, {quality.false_per_series_week:.4f} false")
    return {
        "light_seeds": len(SEEDS),
        "light_recall_mean": round(float(np.mean(recall)), 4),
        "light_recall_worst": round(min(recall), 4),
        "light_false_mean": round(float(np.mean(false)), 4),
        "light_false_worst": round(max(false), 4),
        "light_delay_worst": max(each.delay for each in found),
    }


def on_measures(count: int, seed: int) -> dict[str, float]:
    """The other kinds of alerts on the same series: odd ratios, and windows that are still open."""
    series = synth.make(count, seed)
    ratio_false, ratio_recall, by_kind = synth_measures.ratio_alarms(synth_measures.make(series, seed))
    early_false, early_recall = synth_measures.early_alarms(series, seed)
    print(f"ratios: recall {ratio_recall:.4f}, {ratio_false:.4f} false a series and week, of these {by_kind}; "
          f"open windows: recall {early_recall:.4f}, {early_false:.4f} false a series and week")  # fmt: skip
    return {
        "ratio_recall": round(ratio_recall, 4),
        "ratio_false_per_series_week": round(ratio_false, 4),
        "early_recall": round(early_recall, 4),
        "early_false_per_series_week": round(early_false, 4),
    }


def on_service() -> dict[str, Any]:
    """Panes a second and memory of the service's own process; how soon spend that runs away is flagged."""
    done = subprocess.run([sys.executable, "-m", "bench.anomaly.panes"], check=True, capture_output=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    found |= runaway.measured()
    return found


def run_full(series: list[synth.CostSeries]) -> tuple[list[np.ndarray], float, int]:
    """Alerts, microseconds of CPU a row, most bytes in memory of a series."""
    parameters = shipped_parameters("cost")
    moments = synth.times().tolist()
    alerts, most, begun = [], 0, time.process_time()
    for one in series:
        detector = Detector(parameters)
        values = one.values.tolist()
        rows = [row for row, value in enumerate(values) if detector.step(moments[row], value).is_alert]
        alerts.append(np.array(rows, int))
        most = max(most, bytes_of(detector))
    return alerts, (time.process_time() - begun) / len(series) / len(moments) * 1e6, most


def run_light(series: list[synth.CostSeries]) -> tuple[list[np.ndarray], float, int]:
    """As `run_full`, of all series at once, and with the detector of leaks beside it, as the service has them."""
    scorer = Scorer(shipped_parameters("cost"), full_max=0, young_factor=4.0)
    scorer.make_room(len(series))
    detector, numbers = scorer.light, np.arange(len(series))
    values = np.stack([one.values for one in series], axis=1)
    is_alert = np.zeros(values.shape, bool)
    begun = time.process_time()
    for row, moment in enumerate(synth.times().tolist()):
        is_alert[row] = detector.step(numbers, np.full(len(series), moment), values[row]).is_alert
        is_alert[row, scorer.leaking(numbers, moment, values[row]).series] = True
    spent = time.process_time() - begun
    held = detector.bytes_per_series() + scorer.leaks.bytes_per_series()
    return [np.flatnonzero(column) for column in is_alert.T], spent / values.size * 1e6, held


def bytes_of(found: Any, seen: set[int] | None = None) -> int:
    """Memory of an object and all that it holds, parameters and shared constants included."""
    seen = set() if seen is None else seen
    if id(found) in seen or isinstance(found, type):
        return 0
    seen.add(id(found))
    held = list(getattr(found, "__dict__", {}).values())
    held += [getattr(found, name) for name in getattr(type(found), "__slots__", ()) if hasattr(found, name)]
    if isinstance(found, dict):
        held += [*found.keys(), *found.values()]
    elif isinstance(found, list | tuple | set) or type(found).__name__ == "deque":
        held += list(found)
    return sys.getsizeof(found) + sum(bytes_of(each, seen) for each in held)


if __name__ == "__main__":
    sys.exit(main())
