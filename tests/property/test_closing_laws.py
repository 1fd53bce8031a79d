"""Laws of the close of a billing period, for any charges (spec/rating.md 2, 4.5, 8, 9; spec/allocation.md 1, 9)."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chargeline.domain.accounts import SubscriptionChange
from chargeline.domain.closing.close import Carried, PeriodFacts, close_period
from chargeline.domain.closing.credits import close_credits, open_amounts, order_of_use
from chargeline.domain.closing.entries import Booked, Rate, Scope, Span
from chargeline.domain.closing.invoice_lines import invoice_lines, invoice_total, rounding_entry
from chargeline.domain.closing.largest_remainder import split_steps
from chargeline.domain.closing.proration import days_in_use, prorate
from chargeline.domain.closing.settlement import ProjectUsage, settlement
from chargeline.domain.closing.standing import FeeVersion, StandingFee, standing_entries
from tests.support.closing import JUNE, charge, commitment, grant, grant_id, picos

PICOUNITS = st.integers(-(10**15), 10**15)
POSITIVE = st.integers(0, 10**15)
INSTANT = st.integers(JUNE.start, JUNE.end)
NAMES = st.none() | st.text("abcäz", max_size=3)


def entry(picounits, number=0, **fields):
    made = charge(0, number, **fields)
    return replace(made, contracted_cost=picounits, billed_cost=picounits, effective_cost=picounits)


@given(st.lists(INSTANT, min_size=1), st.fractions(0, 10**6))
def test_prorated_parts_of_a_chain_sum_to_the_whole(cuts, amount):
    edges = sorted([JUNE.start, *cuts, JUNE.end])
    parts = [Span(start, end) for start, end in pairwise(edges)]
    assert sum(days_in_use(each, JUNE) for each in parts) == 30
    assert sum(prorate(amount, each, JUNE) for each in parts) == amount


@given(
    st.lists(st.tuples(INSTANT, st.integers(-5, 9)), max_size=6),
    st.lists(INSTANT, max_size=3, unique=True),
    st.lists(st.integers(0, 300), min_size=4, max_size=4),
)
def test_a_fee_costs_the_same_in_advance_and_in_arrears(changes, cuts, amounts):
    edges = [JUNE.start - 1, *sorted(cuts), None]
    subscribed = tuple(SubscriptionChange(time, Decimal(quantity)) for time, quantity in changes)

    def total(in_advance):
        versions = tuple(
            # A multiple of 30 makes every day exact, so that no rounding hides a difference.
            FeeVersion(Span(start, end), Fraction(30 * amount), in_advance, Rate("seats"))
            for start, end, amount in zip(edges, edges[1:], amounts, strict=False)
        )
        return sum(
            each.contracted_cost for each in standing_entries(StandingFee(Scope("s"), subscribed, versions), JUNE)
        )

    assert total(True) == total(False)


@given(PICOUNITS, st.dictionaries(NAMES, st.integers(0, 10**9), min_size=1).filter(lambda each: any(each.values())))
def test_a_split_is_exact_symmetric_and_blind_to_order(steps, weights):
    parts = split_steps(steps, weights)
    assert sum(parts.values()) == steps
    assert split_steps(-steps, weights) == {key: -part for key, part in parts.items()}
    assert split_steps(steps, dict(reversed(weights.items()))) == parts
    assert split_steps(steps, {**weights, "new": 0}) == {**parts, "new": 0}
    whole = sum(weights.values())
    assert all(abs(part - Fraction(steps * weights[key], whole)) < 1 for key, part in parts.items())


@given(POSITIVE, st.dictionaries(NAMES, st.tuples(st.integers(1, 10**9), PICOUNITS), min_size=1))
def test_a_settlement_makes_the_scope_exactly_its_total_in_any_order(total, projects):
    rows = [ProjectUsage(name, quantity, booked) for name, (quantity, booked) in projects.items()]
    parts = settlement(total, rows)
    assert sum(parts.values()) + sum(each.booked for each in rows) == total
    assert settlement(total, rows[::-1]) == parts


@given(st.lists(PICOUNITS), st.integers(0, 3), st.sampled_from(["0", "0.5", "1", "1.25", "1.333333333"]), st.booleans())
def test_the_bill_of_a_commitment_is_that_of_the_sum_in_any_order(amounts, size, factor, paid_up_front):
    promise = commitment(200 * size, factor, paid_up_front=paid_up_front)
    facts = PeriodFacts(commitments=(promise,))
    charges = [entry(amount, number) for number, amount in enumerate(amounts)]
    made, carried = close_period(charges, [], facts, JUNE, Carried())
    total, limit = sum(amounts), picos(200 * size)
    beyond = Fraction(factor) * (total - limit)
    bill = limit + beyond if total > limit else limit
    assert abs(sum(each.billed_cost for each in [*charges, *made]) - bill) <= Fraction(1, 2)
    assert carried.commitments["K"].counted == total
    other, _ = close_period(charges[::-1], [], facts, JUNE, Carried())
    assert sum(each.billed_cost for each in made) == sum(each.billed_cost for each in other)
    # What is paid up front is spread over what uses it.
    assert sum(each.effective_cost for each in [*charges, *made]) == sum(e.billed_cost for e in [*charges, *made])


COMMITMENTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 2)), min_size=1, max_size=3)


@given(st.lists(PICOUNITS), COMMITMENTS)
def test_every_charge_counts_once_over_several_commitments(amounts, rows):
    promises = tuple(commitment(size, "2", f"K{n}", priority=priority) for n, (size, priority) in enumerate(rows))
    charges = [entry(amount, number) for number, amount in enumerate(amounts)]
    _, carried = close_period(charges, [], PeriodFacts(commitments=promises), JUNE, Carried())
    assert sum(each.counted for each in carried.commitments.values()) == sum(amounts)


@st.composite
def charges_and_reversals(draw):
    """Positive charges in log order; some are taken back, in whole or in part, later."""
    amounts = draw(st.lists(POSITIVE, max_size=8))
    entries = [entry(amount, number) for number, amount in enumerate(amounts)]
    for number, amount in enumerate(amounts):
        if draw(st.booleans()):
            back = draw(st.integers(0, amount))
            fields = {"corrects": (0, number, 0), "entry_kind": "REVERSAL"}
            own = next(place for place, each in enumerate(entries) if each.event == (0, number, 0))
            place = draw(st.integers(own + 1, len(entries)))
            entries.insert(place, entry(-back, 100 + number, **fields))
    return entries


GRANTS = st.lists(
    st.tuples(st.integers(0, 900), st.integers(0, 2), st.sampled_from([None, "06-20", "07-01"]), st.booleans()),
    max_size=4,
)


def grants_of(rows):
    return [
        grant(f"G{n}", amount, priority, expires, kind="prepaid" if bought else "granted")
        for n, (amount, priority, expires, bought) in enumerate(rows)
    ]


@given(charges_and_reversals(), GRANTS)
def test_credits_never_overdraw_and_never_pay_more_than_a_charge(entries, rows):
    grants = grants_of(rows)
    result = close_credits(entries, grants, {}, (), JUNE)
    for each in grants:
        used = [made.credit_amount for made in result.entries if made.scope == Scope(grant_id=each.grant_id)]
        balance = picos(each.amount)
        for amount in used:
            balance -= amount
            assert 0 <= balance <= picos(each.amount)
        assert picos(each.amount) - result.used[each.grant_id] == balance
    for charged in entries:
        if charged.corrects is None:
            about = [made for made in result.entries if charged.event in (made.event, made.corrects)]
            assert 0 <= sum(made.credit_amount for made in about) <= charged.billed_cost


@given(charges_and_reversals(), GRANTS)
def test_charge_plus_cover_plus_credit_is_what_is_billed(entries, rows):
    result = close_credits(entries, grants_of(rows), {}, (), JUNE)
    paid = [made for made in result.entries if made.entry_kind in ("COVER", "CREDIT")]
    assert all(made.billed_cost == -made.credit_amount for made in paid)
    billed = sum(each.billed_cost for each in [*entries, *result.entries])
    used = sum(result.used.values())
    lost = sum(made.credit_amount for made in result.entries if made.entry_kind == "FORFEIT")
    assert billed == sum(each.billed_cost for each in entries) - (used - lost)
    assert billed >= 0


@given(st.integers(1, 10**15), GRANTS)
def test_a_grant_is_used_only_when_those_before_it_are_used_up(amount, rows):
    grants = sorted(grants_of(rows), key=order_of_use)
    # The charge lies before all expiries, so that each grant may pay.
    result = close_credits([entry(amount)], grants, {}, (), JUNE)
    drawn = [(grant_id(made), made.credit_amount) for made in result.entries if made.entry_kind != "FORFEIT"]
    paid = [name for name, _ in drawn]
    assert paid == [each.grant_id for each in grants if each.amount][: len(paid)]
    spent = dict(drawn)
    assert all(spent[each.grant_id] == picos(each.amount) for each in grants if each.grant_id in paid[:-1])


@given(st.lists(PICOUNITS, max_size=6))
def test_netting_the_entries_of_a_charge_keeps_its_sum_and_leaves_one_sign(amounts):
    left = open_amounts([entry(amount, 1) for amount in amounts])
    assert sum(left) == sum(amounts)
    assert all(each >= 0 for each in left) or all(each <= 0 for each in left)


LINES = st.lists(st.tuples(PICOUNITS, NAMES, st.sampled_from([None, "CORRECTION"])), max_size=10)


@given(LINES, st.integers(0, 3))
def test_an_invoice_is_the_sum_of_its_entries_and_roundings_and_payable(rows, digits):
    entries = [entry(amount, project=project, charge_class=kind) for amount, project, kind in rows]
    lines = invoice_lines([("I", each) for each in entries], digits)
    roundings: list[Booked] = [made for each in lines if (made := rounding_entry(each, 0)) is not None]
    total = invoice_total(lines, "I")
    assert total == sum(each.billed_cost for each in [*entries, *roundings])
    assert total % 10 ** (12 - digits) == 0
    assert all(2 * abs(each.rounding) <= 10 ** (12 - digits) for each in lines)
    opposite = invoice_lines([("I", replace(each, billed_cost=-each.billed_cost)) for each in entries], digits)
    assert [-each.payable for each in opposite] == [each.payable for each in lines]
    assert invoice_lines([("I", each) for each in reversed(entries)], digits) == lines
