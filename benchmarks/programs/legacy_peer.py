"""compactor 0.3.0, on Python 2.7: `sink`, `source PID`.

Prints lines of JSON: a sink its pid and then its running count.
"""

from __future__ import print_function  # noqa: UP010  (Python 2.7)

import json
import sys
import threading

from compactor.context import Context
from compactor.pid import PID
from compactor.process import Process

BODY = b"x" * 64
ACK_EVERY = 100  # messages
WINDOW = 400


def say(report):
    print(json.dumps(report))
    sys.stdout.flush()


class Sink(Process):
    def __init__(self):
        super(Sink, self).__init__("sink")  # noqa: UP008  (Python 2.7)
        self.count = 0

    @Process.install("work")
    def work(self, from_pid, body):
        self.count += 1
        if self.count % ACK_EVERY == 0:
            say(self.count)
            self.send(from_pid, "ack", b"")


class Source(Process):
    def __init__(self, sink):
        super(Source, self).__init__("source")  # noqa: UP008  (Python 2.7)
        self.sink = sink

    def pump(self, count):
        for _ in range(count):
            self.send(self.sink, "work", BODY)

    @Process.install("ack")
    def ack(self, from_pid, body):
        self.pump(ACK_EVERY)


def main():
    context = Context()
    context.start()
    if sys.argv[1] == "sink":
        say(str(context.spawn(Sink())))
    else:
        pid = context.spawn(Source(PID.from_string(sys.argv[2])))
        context.dispatch(pid, "pump", WINDOW)
    threading.Event().wait(1e9)


main()
