"""Every process is an HTTP resource: routes next to messages."""

import json
import urllib.request

from compactor import Context, Process, Response, install, route


class Counter(Process):
    def __init__(self, name):
        super().__init__(name)
        self.total = 0

    @install("add")
    def add(self, from_pid, body):
        self.total += int(body)

    @route("/total")
    def show(self, request):
        return {"total": self.total}

    @route("/add")
    async def add_by_http(self, request):
        try:
            self.total += int(request.query["n"])
        except (KeyError, ValueError):
            return Response("say how much: /counter/add?n=3\n", status=400)
        return Response.json({"total": self.total}, status=202)


def main():
    context = Context(ip="127.0.0.1", port=0)
    counter = context.spawn(Counter("counter"))
    context.post(counter, "add", b"4")
    for endpoint in ("add?n=3", "total"):
        url = counter.as_url(endpoint)
        with urllib.request.urlopen(url, timeout=10) as answer:
            print(f"GET /counter/{endpoint} -> {answer.status} {json.load(answer)}")
    context.stop()
    context.join()


if __name__ == "__main__":
    main()
