"""docs/failures.md and the data that its tests are made of."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from tests.e2e.failures import ANSWER, FAULTS, IF_TAKEN, STEPS, TEXT, Step, cells, missing
from tests.e2e.failures_page import PAGE, columns, page, sentence

steps = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)


def test_the_page_is_written_from_the_data() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make failures writes it anew"


@steps
def test_each_fault_of_each_step_has_one_end(step: Step) -> None:
    said = Counter(chain(*(row.faults for row in step.rows), step.senseless))
    assert not missing(step)
    assert set(said.values()) == {1}


@steps
def test_the_sender_always_reads_something(step: Step) -> None:
    for row in step.rows:
        assert row.reads in (ANSWER, TEXT, IF_TAKEN) or sentence(row.reads)


def test_each_fault_is_in_one_column() -> None:
    assert sorted(chain(*columns())) == sorted(FAULTS)


def test_no_two_cells_are_the_same() -> None:
    named = [cell.id for cell in cells()]
    assert len(named) == len(set(named)) > len(STEPS[:-1]) * (len(FAULTS) - 2)
