"""Two processes on the global context: one pings, the other answers."""

import threading

from compactor import Process, install, spawn


class Pong(Process):
    @install("ping")
    def ping(self, from_pid, body):
        print(f"{self.pid} got {body!r} from {from_pid}")
        self.send(from_pid, "pong", body)


class Ping(Process):
    def __init__(self, name, to):
        super().__init__(name)
        self.to = to
        self.answered = threading.Event()

    def initialize(self):
        self.send(self.to, "ping", b"hello")

    @install("pong")
    def pong(self, from_pid, body):
        print(f"{self.pid} got {body!r} back from {from_pid}")
        self.answered.set()


def main():
    pong = spawn(Pong("pong"))
    ping = Ping("ping", pong)
    spawn(ping)
    assert ping.answered.wait(10)


if __name__ == "__main__":
    main()
