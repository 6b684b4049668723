"""Runs of the delivery ledger, and that it would notice what must not be.

Thousands: ``python -m tests.reliability.ledger --runs 5000``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from tests.reliability.ledger import contexts, programs
from tests.reliability.ledger.book import MODULUS, Book

FIRST = 1_000_000  # the number of the first run; others are made by hand


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def check(run: Callable[[int], Book], seeds: range) -> None:
    for seed in seeds:
        assert list(run(seed).problems()) == [], f"run {seed}"


def test_random_runs_of_contexts_account_for_every_message() -> None:
    check(contexts.run, range(FIRST, FIRST + 40))


@pytest.mark.parametrize("seed", [FIRST, FIRST + 1])
def test_a_random_run_of_programs_that_are_killed_accounts_for_every_message(seed: int) -> None:
    check(programs.run, range(seed, seed + 1))


@pytest.mark.slow
def test_many_random_runs_of_contexts_account_for_every_message() -> None:
    check(contexts.run, range(FIRST + 40, FIRST + 290))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FIRST + 2, FIRST + 8))
def test_another_run_of_programs_that_are_killed_accounts_for_every_message(seed: int) -> None:
    check(programs.run, range(seed, seed + 1))


@pytest.fixture
def book() -> Book:
    """A book in which host 0 has sent two messages to host 1."""
    book = Book()
    for _ in range(2):
        book.send(0, 1, "a", "b")
    return book


def test_a_message_that_was_handled_or_reported_once_is_accounted_for(book: Book) -> None:
    book.handle("a", "b", 0)
    book.letter("closed", 1 + 4 * MODULUS)
    assert list(book.problems()) == []
    assert book.totals() == {"handled": 1, "reported": 1, "in flight at a fault": 0}


@pytest.mark.parametrize("again", ["handled", "reported"])
def test_a_message_that_comes_twice_is_a_problem(book: Book, again: str) -> None:
    book.handle("a", "b", 0)
    book.handle("a", "b", 1)
    if again == "handled":
        book.handle("a", "b", 1)
    else:
        book.letter("closed", 1)
    assert "more than once" in next(book.problems())


def test_a_message_that_vanishes_is_a_problem_without_a_fault_on_its_way(book: Book) -> None:
    book.handle("a", "b", 0)
    book.loses(None, 0)
    book.loses(1, 1)
    assert "vanished" in next(book.problems())
    book.loses(0, 1)
    assert list(book.problems()) == []
    assert book.totals()["in flight at a fault"] == 1


def test_a_fault_excuses_what_is_sent_until_the_sender_has_noticed_it(book: Book) -> None:
    book.goes_down(1)
    book.comes_up(1)
    book.send(0, 1, "a", "b")
    assert book.missing() == []
    book.changes(0, 1)
    late = book.send(0, 1, "a", "b")
    assert book.missing() == [late]


def lost_between(first: str, last: str) -> Book:
    """A book in which the second of three messages vanished at a fault."""
    book = Book(is_exact=True)
    for _ in range(3):
        book.send(0, 1, "a", "b")
    for number, what in ((0, first), (2, last)):
        if what == "handled":
            book.handle("a", "b", number)
        else:
            book.letter(what, number)
    book.loses(0, 1)
    return book


def test_a_connection_loses_what_is_behind_what_arrived_and_before_what_was_parked() -> None:
    assert list(lost_between("handled", "closed").problems()) == []
    assert list(lost_between("no handler", "refused").problems()) == []
    assert list(lost_between("overflow", "overflow").problems()) == []


@pytest.mark.parametrize(
    ("first", "last", "problem"),
    [
        ("closed", "closed", "vanished, sent behind"),
        ("handled", "handled", "vanished, sent before"),
        ("handled", "no handler", "vanished, sent before"),
    ],
)
def test_a_message_that_vanishes_from_the_middle_is_a_problem_in_spite_of_a_fault(
    first: str, last: str, problem: str
) -> None:
    assert problem in next(lost_between(first, last).problems())


def test_what_was_parked_may_move_to_another_connection() -> None:
    book = lost_between("handled", "handled")
    book.changes(0, 1, moves=True)
    assert list(book.problems()) == []


def test_a_message_that_overtakes_another_is_a_problem_within_a_connection(book: Book) -> None:
    book.handle("a", "b", 1)
    book.handle("a", "b", 0)
    assert "behind number 1" in next(book.problems())


def test_messages_may_overtake_when_the_connection_was_changed_between(book: Book) -> None:
    book.changes(0, 1)
    book.handle("a", "b", 1)
    book.handle("a", "b", 0)
    assert list(book.problems()) == []


@pytest.mark.parametrize(("sender", "size"), [("a", 7), ("x", 0)])
def test_a_message_that_nobody_sent_is_a_problem(book: Book, sender: str, size: int) -> None:
    book.handle("a", "b", 0)
    book.handle("a", "b", 1)
    book.handle(sender, "b", size)
    assert "handled" in next(book.problems())
