"""The detection of one source partition: what it finds, counts once, and leaves alone."""

import random
from dataclasses import replace
from decimal import Decimal
from functools import cache

import numpy as np
import pytest

from chargeline.adapters.anomaly_parameters import shipped_parameters
from chargeline.domain.anomaly.incidents import Incident, Severity
from chargeline.domain.anomaly.rules import Rules
from chargeline.domain.anomaly.series import SeriesName
from chargeline.domain.anomaly.state import packed, unpacked
from chargeline.domain.anomaly.watch import Watch
from chargeline.domain.anomaly.watch_state import core_bytes, restored
from chargeline.domain.errors import StateIncomplete
from chargeline.wire.rollup_columns import joined
from tests.support.panes import MINUTE, PICO, START, history, unit

HOUR = 60 * MINUTE
LEARNED = 900  # windows: what the first hours of a profile stir up has settled
PARAMETERS = replace(
    shipped_parameters("cost"), learning_rows=800, cool_down_rows=12, history_rows=300, pattern_history_rows=100
)
RULES = Rules(window_us=HOUR, bound_us=MINUTE, minimum_impact=Decimal("0.5"), full_max=3)


def noise(number, *names):
    return random.Random(f"{number}{names}").random()


def usual(number, **changed):
    """Three teams, two models. `changed`: by team, a factor on the cost of its dear model."""
    rows = []
    for team in ("x", "y", "z"):
        for model, price in (("large", 2), ("small", 1)):
            factor = changed.get(team, 1) if model == "large" else 1
            rows.append(
                {
                    "team": team, "request_model": model, "feature": f"of-{team}", "environment": "production",
                    "picos": int((1 + noise(number, team, model) * 0.2) * price * factor * PICO),
                    "events": 50, "errors": 1, "measured": 50, "input_tokens": 50_000, "output_tokens": 10_000,
                    "cache_read_tokens": 20_000,
                }
            )  # fmt: skip
    return rows


def watch(**changed):
    return Watch(0, replace(RULES, **changed), PARAMETERS)


def run(subject, units):
    return [update for each in units for update in subject.take(each)]


@cache
def _learned():
    subject = watch()
    run(subject, history(LEARNED, usual, HOUR))
    return core_bytes(subject)


def learned(**changed):
    """A watch that has seen 900 calm windows."""
    return restored(_learned(), lambda key: None, 0, replace(RULES, **changed), PARAMETERS)


def after(rows_of, windows=10):
    return history(windows, rows_of, HOUR, first=LEARNED)


def ids(updates):
    return {update.anomaly_id for update in updates}


def test_a_spike_is_one_incident_of_the_team_with_a_resolution():
    spike = lambda n: usual(n, y=8) if n < LEARNED + 4 else usual(n)  # noqa: E731
    updates = run(learned(), after(spike))
    assert len(ids(updates)) == 1
    assert [update.sequence for update in updates] == list(range(1, len(updates) + 1))
    assert [update.status for update in updates][-1] == "RESOLVED"
    last = updates[-1]
    assert last.dimensions == (("team", "y"),)
    assert (last.window_start, last.window_end) == (START + LEARNED * HOUR, START + (LEARNED + 4) * HOUR)
    assert last.contributors[0].value == "large"
    assert last.samples == ((LEARNED * 100, (LEARNED + 1) * 100),)


def test_actual_cost_is_the_exact_sum_of_the_panes_and_the_effects_add_up_to_the_change():
    spike = lambda n: usual(n, y=8) if n < LEARNED + 4 else usual(n)  # noqa: E731
    last = run(learned(), after(spike))[-1]
    picos = sum(row["picos"] for n in range(LEARNED, LEARNED + 4) for row in spike(n) if row["team"] == "y")
    assert last.actual_cost == Decimal(picos).scaleb(-12)
    assert last.volume_effect + last.price_effect + last.mix_effect == last.actual_cost - last.reference_cost
    assert last.volume_effect == 0
    for each in last.contributors:
        assert each.volume_effect + each.price_effect == each.change


@pytest.mark.parametrize(
    ("teams", "told"),
    [
        (("y",), {(("team", "y"), ("feature", "shared"))}),  # its owner is told, and a mute of the team covers it
        (("y", "z"), {(("feature", "shared"),)}),  # nobody owns it alone
    ],
)
def test_what_belongs_to_one_team_is_that_teams(teams, told):
    def rows(number, factor):
        quiet = [row | {"picos": row["picos"] * 200} for row in usual(number)]
        share = (1 + noise(number) * 0.2) * PICO * factor
        own = {"request_model": "m", "feature": "shared", "events": 50, "measured": 50}
        return quiet + [own | {"team": team, "picos": int(share)} for team in teams]

    subject = watch(sets=(("feature",),))
    units = history(32, lambda number: rows(number, 1 if number < 30 else 20), HOUR)
    updates = run(subject, units)
    assert {update.dimensions for update in updates} == told


def test_an_incident_is_never_told_to_be_less_bad_than_before():
    incident = Incident(SeriesName("a", "USD", ()), "SPEND", START, START + HOUR, 0, actual=200 * PICO)
    incident.tell(Decimal(1), START + HOUR)
    incident.actual = 2 * PICO
    assert incident.severity(Decimal(1)) is Severity.HIGH
    incident.actual = 2000 * PICO
    assert incident.severity(Decimal(1)) is Severity.CRITICAL


def test_what_is_taken_back_of_a_spike_amends_its_incident_and_opens_none():
    subject = learned()
    units = after(lambda n: usual(n, y=40 if n < LEARNED + 2 else 1))
    row = next(row for row in usual(LEARNED) if (row["team"], row["request_model"]) == ("y", "large"))
    back = [row | {"window": START + (LEARNED + n) * HOUR, "picos": -70 * PICO, "events": 0} for n in range(2)]
    before = run(subject, units[:4])
    later = subject.take(unit(LEARNED + 4, back, START + (LEARNED + 4) * HOUR))
    assert len(ids(before)) == 1
    assert [(each.anomaly_id, each.actual_cost) for each in later] == [
        (before[-1].anomaly_id, before[-1].actual_cost - 140)
    ]


def test_two_teams_at_different_times_are_two_incidents():
    def both(n):
        return usual(n, x=8 if n < LEARNED + 6 else 1, y=8 if LEARNED + 3 <= n < LEARNED + 6 else 1)

    updates = run(learned(), after(both, 12))
    assert {update.dimensions for update in updates} == {(("team", "x"),), (("team", "y"),)}


def test_spend_that_runs_away_is_told_before_its_window_is_complete():
    subject = learned()
    start = START + LEARNED * HOUR
    rows = [{"window": start} | row for row in usual(LEARNED, y=20)]
    updates = subject.take(unit(LEARNED, rows, start + 20 * MINUTE))
    assert [(each.kind, each.status, each.sequence) for each in updates] == [("RUNAWAY", "OPEN", 1)]
    assert subject.complete == start


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ((3.1, 2.4, 2.4), (0.5, 0.9, 0.9), [()]),  # at first only x passes three times the usual, in the end all do
        ((3.1, 1.0, 1.0), (0.0, 2.5, 0.0), [(("team", "x"),), (("team", "y"),)]),
    ],
)
def test_what_runs_away_as_a_whole_is_told_as_a_whole(first, second, told):
    subject = learned()
    start = START + LEARNED * HOUR
    updates = []
    for number, times in enumerate((first, second)):
        of_team = dict(zip("xyz", times, strict=True))
        rows = [row | {"window": start, "picos": int(row["picos"] * of_team[row["team"]])} for row in usual(LEARNED)]
        updates += subject.take(unit(LEARNED + number, rows, start + (54 + number) * MINUTE))
    assert [update.dimensions for update in updates if update.sequence == 1] == told
    assert {update.kind for update in updates} == {"RUNAWAY"}


def test_spend_that_runs_away_is_told_in_whichever_window_is_open():
    """Where the watermark trails by hours, what comes now belongs to the third open window."""
    subject = learned(bound_us=3 * HOUR)
    watermark = START + LEARNED * HOUR
    told = []
    for number in range(LEARNED, LEARNED + 3):
        rows = [{"window": START + number * HOUR} | row for row in usual(number, y=20 if number == LEARNED + 2 else 1)]
        told += subject.take(unit(number, rows, watermark))
    assert subject.windows.starts() == [watermark, watermark + HOUR, watermark + 2 * HOUR]
    assert [(each.kind, each.window_start) for each in told] == [("RUNAWAY", watermark + 2 * HOUR)]


def test_what_is_below_the_minimum_impact_is_not_told():
    assert run(learned(minimum_impact=Decimal(1000)), after(lambda n: usual(n, y=8))) == []


def test_a_team_may_have_a_minimum_of_its_own():
    subject = learned(minimum_impact=Decimal(1000), minimum_impact_by_team={"a/y": Decimal(1)})
    updates = run(subject, after(lambda n: usual(n, x=8, y=8)))
    assert {update.dimensions for update in updates} == {(("team", "y"),)}


def test_calm_spend_is_no_incident():
    assert run(learned(), after(usual, 30)) == []


def test_spend_that_stops_is_a_drop():
    updates = run(learned(), after(lambda n: [row for row in usual(n) if row["team"] != "x"], 8))
    assert updates == [] or {update.kind for update in updates} == {"SPEND_DROP"}


@pytest.mark.parametrize(
    ("measure", "value", "kind"),
    [("errors", 40, "ERROR_COST"), ("retries", 30, "RETRY_STORM"), ("cache_read_tokens", 0, "CACHE_COLLAPSE"),
     ("unrated", 25, "UNRATED")],
)  # fmt: skip
def test_a_ratio_that_changes_is_an_incident_of_its_kind(measure, value, kind):
    def odd(n):
        return [row | ({measure: value} if row["team"] == "z" else {}) for row in usual(n)]

    updates = run(learned(minimum_impact=Decimal("0.01")), after(odd, 4))
    assert kind in updates[-1].kinds
    assert any(dict(update.dimensions).get("team") == "z" for update in updates)


def test_an_unusual_share_of_dead_letters_is_an_incident_of_the_partition():
    subject = learned()
    subject.dead_letters(np.arange(0, 400))
    updates = run(subject, after(usual, 6))
    assert [(each.kind, each.status) for each in updates] == [("DEAD_LETTERS", "OPEN"), ("DEAD_LETTERS", "RESOLVED")]


@pytest.mark.parametrize("before", [True, False])
def test_a_few_dead_letters_in_a_day_that_comes_at_once_are_no_incident(before):
    """Beside the whole day they are few; beside its last window they would be most."""
    subject = learned()
    units = after(usual, 300)
    everything = replace(units[-1], cost=joined([each.cost for each in units]))
    made = [] if before else subject.take(everything)
    subject.dead_letters(np.arange(0, 400))
    made += subject.take(everything) if before else run(subject, after(usual, 302)[300:])
    assert [each.kind for each in made] == []


def test_dead_letters_are_counted_once():
    subject = watch()
    subject.dead_letters(np.array([3, 5]))
    subject.dead_letters(np.array([3, 5, 9]))
    assert subject.dead == 3


def older(core, change):
    """The core as another version wrote it."""
    document, columns = unpacked(core)
    change(document)
    return packed(document, columns)


def test_a_state_from_before_what_came_beside_dead_letters_was_stored_goes_on():
    subject = learned()
    subject.dead_letters(np.arange(0, 400))

    def change(document):
        del document["values"]["arrived"], document["values"]["arrived_before"]

    again = restored(older(core_bytes(subject), change), lambda key: None, 0, RULES, PARAMETERS)
    assert again.counted == subject.counted
    assert run(again, after(usual, 3)) == []
    assert len(run(again, history(3, lambda n: usual(n, y=8), HOUR, first=LEARNED + 3))) > 0


def test_a_state_from_before_the_last_rows_were_kept_goes_on():
    subject = learned()
    document, columns = unpacked(core_bytes(subject))
    del document["times"]
    for name in list(columns):
        if name.startswith(("light/late/", "light/kept/", "light/since")) or name.endswith("/early"):
            del columns[name]
        elif name in ("light/rows", "light/active", "light/quiet", "light/hot"):
            columns[name] = columns[name].astype(np.int64)
    again = restored(packed(document, columns), lambda key: None, 0, RULES, PARAMETERS)
    spike = lambda n: usual(n, y=8) if n < LEARNED + 4 else usual(n)  # noqa: E731
    assert run(again, after(spike)) == run(learned(), after(spike))


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document["values"].pop("counted"),
        lambda document: document.pop("windows"),
        lambda document: document["counts"].update(unheard_of=1),
        lambda document: document["series"].pop("names"),
    ],
)
def test_a_state_of_another_version_is_refused_with_what_follows(change):
    with pytest.raises(StateIncomplete, match=r"another version .* has to be learned again"):
        restored(older(core_bytes(learned()), change), lambda key: None, 0, RULES, PARAMETERS)


def test_units_that_come_again_change_nothing():
    subject, units = learned(), after(lambda n: usual(n, y=8), 5)
    first = run(subject, units)
    assert first
    before = [(each.anomaly_id, each.actual, each.sequence) for each in subject.incidents]
    assert run(subject, history(LEARNED, usual, HOUR)[-3:] + units) == []
    assert [(each.anomaly_id, each.actual, each.sequence) for each in subject.incidents] == before


def test_late_panes_amend_the_incident_of_their_window():
    subject = learned()
    run(subject, after(lambda n: usual(n, y=8), 3))
    late = [{"window": START + LEARNED * HOUR, "team": "y", "request_model": "large", "picos": -5 * PICO, "events": 2}]
    before = subject.incidents[0].actual
    updates = subject.take(unit(LEARNED + 3, late, START))
    assert len(updates) == 1
    assert subject.incidents[0].actual == before - 5 * PICO
    assert subject.counts.late_panes == 1


def test_panes_too_late_are_counted_and_nothing_else():
    subject = learned()
    rows = [{"window": START, "team": "y", "picos": 10**6 * PICO, "events": 1}]
    assert subject.take(unit(LEARNED, rows, START)) == []
    assert subject.counts.dropped_panes == 1


def test_a_jump_of_the_event_time_is_a_gap_and_no_drop():
    subject = learned()
    updates = run(subject, history(3, lambda n: usual(LEARNED), HOUR, START + 1_000_000 * HOUR, first=LEARNED))
    assert updates == []
    assert subject.counts.gaps == 1


def test_the_watermark_never_goes_back():
    subject = learned()
    mark = subject.watermark
    subject.take(unit(LEARNED, [], mark - 10 * HOUR))
    assert subject.watermark == mark


def test_silence_completes_windows_and_then_says_nothing_more():
    subject = learned()
    start = START + LEARNED * HOUR
    subject.take(unit(LEARNED, [{"window": start} | row for row in usual(LEARNED, y=8)], start))
    updates = subject.advance(start + HOUR)
    assert ids(updates)
    subject.advance(start + 1000 * HOUR)
    assert subject.complete <= start + (RULES.gap_windows + 2) * HOUR


def test_windows_without_spend_and_series_of_zeros_alert_nobody():
    subject = watch()
    assert run(subject, history(200, lambda n: [{"team": "q", "picos": 0, "events": 0}], HOUR)) == []


def test_series_beyond_the_limit_are_given_up_least_active_first():
    subject = watch(series_max=40)
    for n in range(12):
        rows = [{"window": START + n * HOUR, "team": f"t{n}-{k}", "picos": PICO, "events": 1} for k in range(20)]
        rows += [{"window": START + n * HOUR} | row for row in usual(n)]
        subject.take(unit(n, rows, START + n * HOUR))
    assert len(subject.table) <= 40 + 21
    assert subject.table.evicted > 0
    assert subject.groups.size <= 100
    names = {str(subject.table.name(number)) for number in subject.table.live()}
    assert "a account (USD)" in names
    assert "a team=x (USD)" in names


def test_a_new_series_borrows_from_its_account():
    subject = learned()
    fresh = lambda n: usual(n) + [row | {"team": "new"} for row in usual(n) if row["team"] == "x"]  # noqa: E731
    run(subject, after(fresh, 14))
    number = next(each for each in subject.table.live() if dict(subject.table.name(each).dimensions) == {"team": "new"})
    assert subject.scorer.seeded[number]
    expected, _, known = subject.scorer.usual(np.array([number]), (START + (LEARNED + 14) * HOUR) / 1e6)
    assert known[0]
    assert 2 < expected[0] < 5


def test_amounts_beyond_64_bits_stay_exact():
    subject = watch()
    run(subject, history(8, lambda n: [{"team": "big", "picos": 10**20 + n, "events": 10}], HOUR))
    updates = run(
        subject, history(2, lambda n: [{"team": "big", "picos": 7 * 10**21 + 1, "events": 10}], HOUR, first=8)
    )
    assert updates[-1].kind == "NEW_SPEND"
    assert updates[-1].actual_cost == Decimal(7 * 10**21 + 1).scaleb(-12)


def test_currencies_are_never_added():
    subject = watch()
    rows = [{"window": START, "team": "x", "picos": PICO, "billing_currency": each} for each in ("USD", "EUR")]
    subject.take(unit(0, rows, START))
    names = {
        (each.billing_account_id, each.billing_currency)
        for n in subject.table.live()
        if (each := subject.table.name(n))
    }
    assert names == {("a", "USD"), ("a", "EUR")}
