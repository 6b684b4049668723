"""Runs on Python 2.7: a process of compactor 0.3.0 that says what happens to it.

It prints ``PID pid`` first, then ``GOT name from body``, with the body in hexadecimal digits, and
``EXITED pid``.  A message named ``echo`` is sent back as ``echoed``.  Standard input takes:
``send pid name [body]``, ``burst pid name count``, ``link pid``, ``terminate``.
"""

from __future__ import print_function  # noqa: UP010  (Python 2.7)

import binascii
import sys
import threading

from compactor.context import Context
from compactor.pid import PID
from compactor.process import Process

_lock = threading.Lock()


def say(*words):
    with _lock:
        print(*words)
        sys.stdout.flush()


class Peer(Process):
    @Process.install("echo")
    def echo(self, from_pid, body):
        say("GOT", "echo", from_pid, binascii.hexlify(body).decode())
        self.send(from_pid, "echoed", body)

    @Process.install("fail")
    def fail(self, from_pid, body):
        raise ValueError("as it was told to")

    @Process.install("note")
    def note(self, from_pid, body):
        say("GOT", "note", from_pid, binascii.hexlify(body).decode())

    def exited(self, pid):
        say("EXITED", pid)


def main():
    context = Context()
    context.start()
    peer = Peer("legacy(1)")
    say("PID", context.spawn(peer))
    for line in iter(sys.stdin.readline, ""):
        words = line.split()
        if words[0] == "send":
            body = binascii.unhexlify(words[3]) if len(words) > 3 else None
            peer.send(PID.from_string(words[1]), words[2], body)
        elif words[0] == "burst":
            for number in range(int(words[3])):
                peer.send(PID.from_string(words[1]), words[2], str(number).encode("ascii"))
        elif words[0] == "link":
            peer.link(PID.from_string(words[1]))
        elif words[0] == "terminate":
            peer.terminate()
        say("DONE", words[0])


main()
