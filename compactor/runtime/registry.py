"""``Registry``: the live processes of one context, by id."""

from __future__ import annotations

from compactor.actor.mailbox import Mailbox
from compactor.errors import InvalidProcess
from compactor.pid import PID, Address


class Registry:
    """Who lives here.  Any thread may look up, claim or release an id.

    Args:
        address: the advertised (ip, port).
        max_processes: how many may live at a time.

    Attributes:
        live: the mailbox of each live process, by id.
    """

    def __init__(self, address: Address, max_processes: int) -> None:
        self.ip, self.port = address
        self.live: dict[str, Mailbox] = {}
        self._max_processes = max_processes

    def claim(self, mailbox: Mailbox) -> None:
        """Have the id of a mailbox lead to it.

        Raises:
            InvalidProcess: a live process has that id, or there are too many.
        """
        pid = mailbox.pid
        if len(self.live) >= self._max_processes:
            raise InvalidProcess(
                f"{pid} is one too many: max_processes={self._max_processes} live already"
            )
        if self.live.setdefault(pid.id, mailbox) is not mailbox:
            raise InvalidProcess(
                f"a process {pid.id!r} lives on {pid.host} already; "
                "choose another name, or wait until it has ended"
            )

    def release(self, mailbox: Mailbox) -> None:
        """Take back a claim: its process could not be initialized."""
        # Two threads may do so at once only while the context stops, when a claim is worth nothing.
        if self.live.get(mailbox.pid.id) is mailbox:
            self.live.pop(mailbox.pid.id, None)

    def is_local(self, pid: PID) -> bool:
        """Whether a pid carries the advertised address of this context."""
        return pid.port == self.port and pid.ip == self.ip

    def mailbox_of(self, pid: PID) -> Mailbox | None:
        """The mailbox of a live local process."""
        mailbox = self.live.get(pid.id)
        if mailbox is not None and (mailbox.pid is pid or self.is_local(pid)):
            return mailbox
        return None
