"""``Top``: the screen of ``compactor top``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static

from compactor.cli.exits import Fault
from compactor.cli.http_client import HttpClient
from compactor.cli.output import number
from compactor.cli.snapshot import Row, Snapshot, look, rows
from compactor.cli.targets import Target
from compactor.metrics.logs import readable

MOST_ROWS = 1000
"""Processes that are shown; those that come first in the order of the screen."""

COLUMNS = {
    "id": "ID",
    "waiting": "WAITING",
    "peak": "PEAK",
    "rate": "PER S",
    "handled": "HANDLED",
    "failures": "FAILED",
    "restarts": "RESTARTS",
    "p99": "P99 MS",
}

_KEYS = """\
P  sort by events handled in a second      M  sort by events that wait
T  sort by events handled in all           N  sort by id
<  >  F6  sort by another column           I  turn the order round
F4  \\  /  show ids that contain a text     Esc  show all again
F5  look now                               Z  stand still, or go on
F1  ?  h  show or hide this                F10  q  leave
"""


class Top(App[None]):
    """A context, looked at again and again.

    Args:
        client: asks it.
        target: it.
        interval: seconds between two looks.
        first: the first one.
    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #summary { height: auto; }
    #keys { height: auto; display: none; }
    #filter { display: none; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1,question_mark,h", "toggle_keys", "Keys"),
        Binding("f4,backslash,slash", "filter", "Filter"),
        Binding("f6,greater_than_sign", "sort_next(1)", "Sort"),
        Binding("less_than_sign", "sort_next(-1)", show=False),
        Binding("P", "sort('rate')", show=False),
        Binding("M", "sort('waiting')", show=False),
        Binding("T", "sort('handled')", show=False),
        Binding("N", "sort('id')", show=False),
        Binding("I", "invert", "Invert"),
        Binding("f5", "look", show=False),
        Binding("Z", "stand_still", "Stand still"),
        Binding("escape", "show_all", show=False),
        Binding("f10,q,ctrl+c", "quit", "Quit"),
    ]

    def __init__(
        self, client: HttpClient, target: Target, interval: float, first: Snapshot
    ) -> None:
        super().__init__()
        self._client = client
        self._target = target
        self._interval = interval
        self._now = first
        self._before: Snapshot | None = None
        self._trouble = ""
        self._is_looking = False
        self._stands_still = False
        self.sorted_by = "waiting"
        self.is_inverted = False
        self.pattern = ""

    def compose(self) -> ComposeResult:
        """What is on the screen, from top to bottom."""
        yield Static(id="summary")
        yield Static(_KEYS, id="keys", markup=False)
        yield Input(placeholder="ids that contain ...", id="filter")
        yield DataTable[Any](cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        with contextlib.suppress(NotImplementedError):  # on Windows
            # Else whoever ends it so is left with the screen as it is.
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM)
        table = self.query_one(DataTable)
        for key, label in COLUMNS.items():
            table.add_column(label, key=key)
        table.focus()
        self._draw()
        self.set_interval(self._interval, self._look_again)

    async def _look_again(self) -> None:
        if not self._stands_still:
            await self.action_look()

    async def action_look(self) -> None:
        """Look once; who does not answer holds up nothing."""
        if self._is_looking:
            return
        self._is_looking = True
        self.run_worker(self._look(), exclusive=False)

    async def _look(self) -> None:
        try:
            now = await asyncio.to_thread(look, self._client, self._target)
        except Fault as fault:
            self._trouble = fault.message
        else:
            self._trouble = ""
            self._before, self._now = self._now, now
        finally:
            self._is_looking = False
        self._draw()

    def _draw(self) -> None:
        self.query_one("#summary", Static).update(self.summary())
        table = self.query_one(DataTable)
        at = table.cursor_row
        table.clear()
        for row in self.shown():
            cells = [Text(readable(row.id))]
            for key in list(COLUMNS)[1:]:
                value = getattr(row, key)
                cells.append(Text(number(value), justify="right"))
            table.add_row(*cells)
        table.move_cursor(row=min(at, max(table.row_count - 1, 0)))

    def shown(self) -> list[Row]:
        """The rows of the table."""
        found: Iterable[Row] = (
            row for row in rows(self._now, self._before) if self.pattern in row.id
        )
        if self.sorted_by == "id":
            listed = sorted(found, key=lambda row: row.id, reverse=self.is_inverted)
        else:
            listed = sorted(found, key=lambda row: row.id)
            listed.sort(key=self._place, reverse=not self.is_inverted)
        return listed[:MOST_ROWS]

    def _place(self, row: Row) -> float:
        value = getattr(row, self.sorted_by)
        return -1 if value is None else float(value)

    def summary(self) -> Text:
        """The lines above the table."""
        told, earlier = self._now.metrics, self._before
        by = COLUMNS[self.sorted_by]
        waiting = sum(self._now.waiting.values())
        lines = [
            f"{self._target.host}  {len(self._now.waiting):,} processes, {waiting:,} events wait"
            f"  sorted by {by}{' (inverted)' if self.is_inverted else ''}"
        ]
        if told:
            parts = []
            for label, name in (("in", "messages_in"), ("out", "messages_out")):
                if earlier and name in told and self._now.at > earlier.at:
                    count = told[name] - earlier.metrics.get(name, told[name])
                    parts.append(f"{label} {number(count / (self._now.at - earlier.at))}/s")
            for label, name, unit in (
                ("handler p99", "handler_ms/p99", " ms"),
                ("loop lag p99", "loop_lag_ms/p99", " ms"),
                ("parked", "parked_bytes", " bytes"),
                ("dead letters", "dead_letters", ""),
                ("failures", "handler_failures", ""),
                ("load", "system/load_1min", ""),
            ):
                if name in told:
                    parts.append(f"{label} {number(told[name])}{unit}")
            lines.append("  ".join(parts))
        text = Text("\n".join(map(readable, lines)))
        trouble = self._trouble or self._now.without
        if self._stands_still:
            text.append("\nstands still; Z goes on", "bold yellow")
        if trouble:
            text.append(f"\n{readable(trouble)}", "bold red")
        return text

    # Keys

    def action_toggle_keys(self) -> None:
        """Show the keys, or hide them."""
        keys = self.query_one("#keys")
        keys.display = not keys.display

    def action_sort(self, by: str) -> None:
        """Sort by a column."""
        self.sorted_by = by
        self._draw()

    def action_sort_next(self, step: int) -> None:
        """Sort by the next column, or by the one before."""
        names = list(COLUMNS)
        self.action_sort(names[(names.index(self.sorted_by) + step) % len(names)])

    def action_invert(self) -> None:
        """Turn the order round."""
        self.is_inverted = not self.is_inverted
        self._draw()

    def action_stand_still(self) -> None:
        """Look no more, or go on."""
        self._stands_still = not self._stands_still
        self._draw()

    def action_filter(self) -> None:
        """Ask for a text that ids are to contain."""
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def action_show_all(self) -> None:
        """Show all ids again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter", Input).display = False
        self.query_one(DataTable).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while somebody types."""
        self.pattern = event.value
        self._draw()

    def on_input_submitted(self) -> None:
        """The text is complete."""
        self._close_filter()
