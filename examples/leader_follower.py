"""Register, link, lose: a leader and a follower on two contexts, as if on two machines."""

import queue

from compactor import Context, Process, install


class Leader(Process):
    def __init__(self, events):
        super().__init__("leader")
        self.events = events

    @install("register")
    def register(self, from_pid, body):
        self.link(from_pid)
        self.send(from_pid, "registered")

    def exited(self, pid, reason):
        self.events.put(f"leader: {pid.id} has exited ({reason})")


class Follower(Process):
    def __init__(self, name, leader, events):
        super().__init__(name)
        self.leader = leader
        self.events = events

    def initialize(self):
        self.send(self.leader, "register")

    @install("registered")
    def registered(self, from_pid, body):
        self.link(from_pid)
        self.events.put(f"{self.name}: registered with {from_pid.id}")

    def exited(self, pid, reason):
        self.events.put(f"{self.name}: {pid.id} has exited ({reason})")


def main():
    events = queue.Queue()
    leader_context = Context(ip="127.0.0.1", port=0)
    follower_context = Context(ip="127.0.0.1", port=0)
    leader = leader_context.spawn(Leader(events))
    first = follower_context.spawn(Follower("first", leader, events))
    print(events.get(timeout=10))

    # One process ends while its context lives on.
    follower_context.terminate(first)
    print(events.get(timeout=10))

    # A whole context ends.
    follower_context.spawn(Follower("second", leader, events))
    print(events.get(timeout=10))
    leader_context.stop()
    print(events.get(timeout=10))
    follower_context.stop()


if __name__ == "__main__":
    main()
