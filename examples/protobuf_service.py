"""Protocol buffers as messages.  These types come with protobuf, so nothing has to be compiled."""

import queue

from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue

from compactor import Context, ProtobufProcess

PEOPLE = {"ada": {"born": 1815, "field": "computing"}}


class Registry(ProtobufProcess):
    """Answers a name with what it knows about it."""

    @ProtobufProcess.install(StringValue)
    def look_up(self, from_pid, message):
        found = Struct()
        found.update(PEOPLE.get(message.value, {}))
        self.send(from_pid, found)


class Client(ProtobufProcess):
    def __init__(self, name):
        super().__init__(name)
        self.answers = queue.Queue()

    @ProtobufProcess.install(Struct)
    def answer(self, from_pid, message):
        self.answers.put(dict(message))


def main():
    registry_context = Context(ip="127.0.0.1", port=0)
    client_context = Context(ip="127.0.0.1", port=0)
    registry = registry_context.spawn(Registry("registry"))
    client = Client("client")
    client_context.spawn(client)
    client.send(registry, StringValue(value="ada"))
    print("ada:", client.answers.get(timeout=10))
    client_context.stop()
    registry_context.stop()


if __name__ == "__main__":
    main()
