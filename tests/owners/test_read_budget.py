"""Budget of descriptors to read again."""

from __future__ import annotations

from exporter.owners.read_budget import ReadBudget


def test_capacity_is_saved_at_the_start() -> None:
    budget = ReadBudget(100)
    assert budget.affords(100)
    budget.spend(60)
    assert budget.affords(40)
    assert not budget.affords(41)


def test_allowances_are_saved_up_to_the_capacity() -> None:
    budget = ReadBudget(100)
    budget.spend(100)
    assert not budget.affords(1)
    budget.refill(30)
    assert budget.affords(30)
    assert not budget.affords(31)
    for _ in range(10):
        budget.refill(30)
    budget.spend(100)
    assert not budget.affords(1)


def test_more_than_the_capacity_is_allowed_when_all_is_saved() -> None:
    budget = ReadBudget(100)
    assert budget.affords(5000)
    budget.spend(1)
    assert not budget.affords(5000)


def test_credit_is_limited_to_the_capacity() -> None:
    budget = ReadBudget(100)
    budget.spend(100)
    assert budget.affords(100, on_credit=True)
    budget.spend(100)
    assert not budget.affords(1, on_credit=True)
    budget.refill(150)
    assert budget.affords(50)
    assert not budget.affords(51)


def test_refund_makes_reads_free() -> None:
    budget = ReadBudget(100)
    budget.spend(100)
    budget.refund(100)
    assert budget.affords(100)
