"""A leader election with a bug that one run does not show, and many do.

    python examples/leader_election.py [SEEDS]

Nodes vote as in Raft: whoever hears of no leader for a while asks for votes in a new term, and a
majority makes it the leader of that term.  ``Forgetful`` nodes keep their vote in memory, and have
forgotten it after a crash; they may vote twice in one term, which then can have two leaders.
``Node`` keeps it on its disk.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from compactor import PID, Process, Timer, install
from compactor.testing import Host, Simulation, World

PORT = 5050
NAMES = ("a", "b", "c")
BEAT = 0.5  # seconds between two beats of a leader


class Node(Process):
    """One of those who elect.  ``disk`` outlives a crash; ``leaders`` is looked at by the test."""

    def __init__(self, disk: dict[str, Any], peers: list[PID], world: World) -> None:
        super().__init__("node")
        self.disk = disk
        self.peers = peers
        self.world = world
        self.leads = 0  # the term; 0 if it does not lead
        self.votes: set[PID] = set()
        self.patience: Timer | None = None

    def initialize(self) -> None:
        self.disk.setdefault("term", 0)
        self.every(BEAT, self.beat)
        self.wait()

    def wait(self) -> None:
        """Be a candidate unless a leader is heard of in time."""
        if self.patience is not None:
            self.patience.cancel()
        self.patience = self.delay(BEAT * (2 + 2 * self.world.random.random()), self.stand)

    def stand(self) -> None:
        self.see(self.disk["term"] + 1)
        self.disk["vote"] = self.pid
        self.votes = {self.pid}
        for peer in self.peers:
            self.send(peer, "stand", b"%d" % self.disk["term"])
        self.wait()

    def see(self, term: int) -> bool:
        """Whether a term is not over; a new one has nobody's vote yet."""
        if term > self.disk["term"]:
            self.disk.update(term=term, vote=None)
            self.leads, self.votes = 0, set()
        return term == self.disk["term"]

    @install("stand")
    def asked(self, from_pid: PID, body: bytes) -> None:
        if self.see(int(body)) and self.disk.get("vote") in (None, from_pid):
            self.disk["vote"] = from_pid
            self.send(from_pid, "vote", body)
            self.wait()

    @install("vote")
    def voted(self, from_pid: PID, body: bytes) -> None:
        if self.see(int(body)):
            self.votes.add(from_pid)
            if len(self.votes) * 2 > len(self.peers) + 1:
                self.leads = self.disk["term"]
                self.beat()

    def beat(self) -> None:
        if self.leads:
            for peer in self.peers:
                self.send(peer, "beat", b"%d" % self.leads)
            self.wait()

    @install("beat")
    def heard(self, from_pid: PID, body: bytes) -> None:
        if self.see(int(body)):
            self.wait()


class Forgetful(Node):
    """The bug: only the term is on the disk."""

    def initialize(self) -> None:
        self.disk.pop("vote", None)
        super().initialize()


async def elect(world: World, kind: type[Node]) -> dict[int, str]:
    """A minute of elections while things go wrong; who has led which term."""
    disks: dict[str, dict[str, Any]] = {name: {} for name in NAMES}
    nodes: dict[str, Node] = {}
    leaders: dict[int, str] = {}

    async def program(host: Host) -> None:
        peers = [PID(each.ip, PORT, "node") for each in world.hosts.values() if each is not host]
        nodes[host.name] = kind(disks[host.name], peers, world)
        host.context(port=PORT).spawn(nodes[host.name])

    def one_leader_a_term() -> None:
        for name, node in nodes.items():
            if node.leads:
                other = leaders.setdefault(node.leads, name)
                assert other == name, f"{other} and {name} lead term {node.leads}"

    for host in [world.host(name) for name in NAMES]:
        host.run(program)
    world.always(one_leader_a_term)
    with world.chaos(rate=0.5, kinds=["crash", "partition", "slow"], longest=5):
        await world.sleep(60)
    await world.sleep(20)
    assert any(node.leads for node in nodes.values()), "nobody leads, though all is well again"
    return leaders


def find_bug(kind: type[Node], seeds: int) -> AssertionError | None:
    """The first failure of some seeds."""
    for seed in range(seeds):
        try:
            Simulation(seed).run(lambda world: elect(world, kind))
        except AssertionError as error:
            error.args = (f"seed {seed}: {error}",)
            return error
    return None


if __name__ == "__main__":
    logging.getLogger("compactor").setLevel(logging.ERROR)  # lost messages are no news here
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print("with the bug, one seed: ", find_bug(Forgetful, 1))
    print("with the bug, all seeds:", find_bug(Forgetful, seeds))
    print("without it, all seeds:  ", find_bug(Node, seeds))
