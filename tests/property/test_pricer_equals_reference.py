"""The vectorised pricer and the slow reference agree on every entry of random usage, however it is cut into units."""

import json
from typing import Any

import numpy as np
import pytest

from chargeline.domain.identities import Identities
from chargeline.domain.rating.scope_states import ScopeStates
from chargeline.ports import LogBatch
from chargeline.pricer.aggregate import compute
from chargeline.pricer.compute import Rules
from chargeline.sdk.jsonlines import BadLine, read_line
from chargeline.verify.rating.price import price_document
from chargeline.wire._generated import USAGE_EVENT_SCHEMA
from chargeline.wire.arrow_messages import decode, encode
from chargeline.wire.charge_scopes import moved_scopes
from chargeline.wire.left_out import completed
from tests.support.pricing import engine, table_of
from tests.support.publishable import publishable
from tests.support.random_rating import RandomRating
from tests.support.same_entries import assert_same_object

Document = dict[str, Any]


@pytest.mark.parametrize("seed", range(24))
def test_every_entry_is_that_of_the_reference(seed):
    case = RandomRating(seed)
    cards, events = publishable(case)
    wanted = price_document(cards, case.accounts, case.fx, events, False)
    found = engine(cards, case.accounts, case.fx, events, unit=7 + seed)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert_same_object(one, other)


@pytest.mark.parametrize("seed", range(100, 106))
def test_a_cut_anywhere_gives_the_same_charges_and_their_fold_is_the_state(seed):
    case = RandomRating(seed, 120)
    cards, events = publishable(case)
    table, _ = table_of(cards, case.accounts, case.fx)
    lines = [each for each in map(read_line, map(_json, events)) if not isinstance(each, BadLine)]
    whole, state = run(lines, table, [])
    for cuts in ([1], [20, 21, 45]):
        rows, after = run(lines, table, cuts)
        assert rows == whole
        assert after.stored() == state.stored()


def run(lines: list[Any], table: Any, cuts: list[int]) -> tuple[list[Document], ScopeStates]:
    """All charges, and the scopes after them; on the way the fold of the charges is compared with what units changed."""
    known, scopes = Identities(), ScopeStates.empty()
    rows: list[Document] = []
    for start, stop in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        part = lines[start:stop]
        batch = LogBatch(
            "usage-events", 0, np.arange(start, stop), np.array([-(-each.event_time // 1000) for each in part]),
            [each.value for each in part], stop,
        )  # fmt: skip
        unit = compute(
            batch, known=known, scopes=scopes, watermark=None, table=table, governance_sequence=0,
            rules=Rules(1, 60_000_000, 60_000_000, 0), schema_of=lambda _: USAGE_EVENT_SCHEMA,
        )  # fmt: skip
        known.add(unit.booked.keys)
        folded = scopes
        for message in encode(unit.charges):
            folded = folded.apply(moved_scopes(decode(message)))
        scopes = scopes.apply(unit.booked.scopes)
        assert folded.stored() == scopes.stored()
        rows += completed(unit.charges.to_pylist(maps_as_pydicts="strict"), "Charge")
    return rows, scopes


def _json(event: Any) -> str:
    return "no JSON" if event is None else json.dumps(event)
