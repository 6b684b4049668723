"""``/logging/toggle``: what it answers, as libprocess does, and what is logged meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from compactor import Context
from compactor.endpoints.durations import duration
from compactor.endpoints.logging_toggle import number_of
from tests.actors import TIMEOUT
from tests.endpoints.asking import RECORDED, fetch, recorded

MakeContext = Callable[..., Context]

logger = logging.getLogger("compactor")

REFUSED = sorted(
    path.stem.removeprefix("logging_toggle_")
    for path in RECORDED.glob("logging_toggle_*=*.txt")
    if b"400 Bad Request" in path.read_bytes()[:40]
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The level is that of a program that has configured nothing."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    yield
    assert logger.level == logging.WARNING, "it was not reverted"
    logger.setLevel(before)


def toggle(context: Context, query: str = "", **headers: str) -> tuple[int, str]:
    told = fetch(context, f"/logging/toggle{query}", **headers)
    return told.status, told.text


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_told_in_the_words_of_libprocess(
    make_context: MakeContext, name: str
) -> None:
    theirs = recorded(f"logging_toggle_{name}")

    told = fetch(make_context(), f"/logging/toggle?{name.replace('_', '&')}")

    assert (told.status, told.type) == (theirs.status, theirs.type)
    first, _, right = told.text.partition("\n")
    assert f"{first}\n" == theirs.text
    assert right == "" if "Expecting" in first else right.startswith(("A level is", "A duration"))


def test_there_are_as_many_of_these_as_were_recorded() -> None:
    assert len(REFUSED) == 12


def test_a_level_is_set_and_reverted_as_in_libprocess(make_context: MakeContext) -> None:
    context = make_context()

    assert fetch(context, "/logging/toggle")[::2] == recorded("logging_toggle")[::2]
    told = fetch(context, "/logging/toggle?level=2&duration=1secs")
    theirs = recorded("logging_toggle_level=2_duration=1secs")
    assert (told.status, told.type, told.body) == (theirs.status, theirs.type, theirs.body)
    assert fetch(context, "/logging/toggle").body == recorded("logging_toggle_while_2").body
    assert logger.level == logging.DEBUG
    assert toggle(context, "?level=2&duration=1ms") == (200, "")
    until(lambda: logger.level == logging.WARNING)
    assert fetch(context, "/logging/toggle").body == recorded("logging_toggle_after_revert").body


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("text", "level", "number"),
    [
        ("0", logging.WARNING, "0"),
        ("1", logging.INFO, "1"),
        ("2", logging.DEBUG, "2"),
        ("3", 1, "3"),
        ("+3", 1, "3"),
        ("99", 1, "3"),
        ("debug", logging.DEBUG, "2"),
        ("INFO", logging.INFO, "1"),
        ("warning", logging.WARNING, "0"),
    ],
)
def test_levels_are_numbers_or_names(
    make_context: MakeContext, text: str, level: int, number: str
) -> None:
    context = make_context()

    assert toggle(context, f"?level={quote(text)}&duration=1hrs") == (200, "")
    assert logger.level == level
    assert toggle(context) == (200, f"{number}\n")


@pytest.mark.parametrize("text", ["error", "critical"])
def test_nobody_makes_a_context_silent(make_context: MakeContext, text: str) -> None:
    status, told = toggle(make_context(), f"?level={text}&duration=1secs")

    assert (status, told.partition("\n")[0]) == (400, f"'{text}' < original level.")


def test_what_is_configured_is_the_least(make_context: MakeContext) -> None:
    context = make_context()
    logger.setLevel(logging.INFO)
    try:
        theirs = recorded("glog_v1_logging_toggle_level=0")
        assert fetch(context, "/logging/toggle").body == recorded("glog_v1_logging_toggle").body
        told = fetch(context, "/logging/toggle?level=0&duration=1secs")
        assert (told.status, told.text.partition("\n")[0]) == (400, theirs.text.strip())
        assert toggle(context, "?level=debug&duration=1hrs") == (200, "")
        assert toggle(context, "?level=warning&duration=1hrs")[0] == 400
        assert toggle(context, "?level=2&duration=20ms") == (200, "")
        until(lambda: logger.level == logging.INFO)
    finally:
        logger.setLevel(logging.WARNING)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("level", "9" * 5000),
        ("level", "²"),
        ("level", "-" * 70_000),
        ("duration", "9" * 70_000 + "secs"),
        ("duration", "1" + "x" * 70_000),
        ("duration", "1e5secs"),
        ("duration", "1.2.3secs"),
        ("duration", "300000weeks"),
        ("duration", "infsecs"),
    ],
)
def test_what_is_absurd_is_refused_and_shown_in_short(
    make_context: MakeContext, name: str, text: str
) -> None:
    query = {"level": "1", "duration": "1secs", name: text}

    status, told = toggle(
        make_context(), "?" + "&".join(f"{n}={quote(t)}" for n, t in query.items())
    )

    assert status == 400
    assert len(told) < 400


def test_a_stopped_context_leaves_the_level_as_it_was(make_context: MakeContext) -> None:
    context = make_context()

    assert toggle(context, "?level=3&duration=292weeks") == (200, "")
    context.stop()
    context.join(TIMEOUT)

    assert logger.level == logging.WARNING


def test_the_last_of_all_contexts_decides(make_context: MakeContext) -> None:
    here, there = make_context(), make_context()
    for _ in range(20):
        toggle(here, "?level=2&duration=1hrs")
        toggle(there, "?level=3&duration=1hrs")

    here.stop()
    here.join(TIMEOUT)
    assert toggle(there) == (200, "3\n")
    assert len(closing_of(there)) == 1  # of its 20 changes
    there.stop()
    there.join(TIMEOUT)
    assert logger.level == logging.WARNING


def closing_of(context: Context) -> list[Any]:
    found = context._runtime.pages.endpoints()
    assert found is not None
    return found.closing


def test_pages_and_strangers_change_nothing(make_context: MakeContext) -> None:
    query = "?level=3&duration=1hrs"
    context = make_context()

    assert toggle(context, query, Forwarded="for=192.0.2.1")[0] == 403
    assert toggle(context, query, Sec_Fetch_Site="cross-site")[0] == 403


def test_a_change_is_logged(make_context: MakeContext, caplog: pytest.LogCaptureFixture) -> None:
    toggle(make_context(), "?level=1&duration=90secs")

    assert "127.0.0.1 has set the level to 20 for 90 s" in caplog.text


def test_numbers_of_levels() -> None:
    levels = (0, 1, 9, 10, 15, 20, 25, 30, 50)
    assert [number_of(level) for level in levels] == [3, 3, 2, 2, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0ns", 0.0),
        ("5ns", 5e-9),
        ("2us", 2e-6),
        ("500ms", 0.5),
        ("1.5secs", 1.5),
        ("15mins", 900.0),
        ("2hrs", 7200.0),
        ("1days", 86400.0),
        ("2weeks", 1209600.0),
        (".5secs", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)
