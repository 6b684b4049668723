"""Fuzzes the decoders of both backends against each other, and each against itself in splits.

    python -m tests.fuzz.decoder --seconds 30

Guided by the coverage of the Python modules where atheris is installed (``pip install
'.[fuzz]'``); at random, from a seed, elsewhere and with ``--blind``.  An input that fails is
written to a file, and given as an argument it is tried again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compactor.runtime.hot_path import Backend

# compactor is imported late, for atheris can trace only what it sees imported.
TRACED = [
    "compactor.wire.body_decoder",
    "compactor.wire.head_pattern",
    "compactor.wire.request_decoder",
    "compactor.wire.request_head",
    "compactor.wire.chunks",
    "compactor.wire.fields",
    "compactor.pid",
]

MAX_BYTES = 8192


def packed(stream: bytes, limits: int = 0, cuts: Sequence[int] = ()) -> bytes:
    """An input of the fuzzer: bounds, cuts and a stream as bytes that can be mutated."""
    places = b"".join((at % 65536).to_bytes(2, "big") for at in cuts)
    return bytes([limits, len(cuts)]) + places + stream


def compare(backends: Sequence[Backend], data: bytes) -> None:
    """Decode one input with each backend, whole and in pieces.

    Raises:
        AssertionError: not all see the same.
    """
    from tests.fuzz.streams import LENDING, LIMITS, cut, seen

    limits = LIMITS[data[0] % len(LIMITS)] if data else LIMITS[0]
    stop = 2 + 2 * (data[1] % 16 if len(data) > 1 else 0)
    cuts = [int.from_bytes(data[at : at + 2], "big") for at in range(2, stop, 2)]
    stream = data[stop:]
    pieces = cut(stream, cuts)
    ways = [
        [
            seen(backend, [stream], limits),
            seen(backend, pieces, limits, in_steps=True),
            *(seen(backend, pieces, limits, way) for way in LENDING),
        ]
        for backend in backends
    ]
    assert all(other == ways[0] for other in ways), f"backends differ on {pieces}, {limits}"
    whole, *split = (_outcome(trace) for trace in ways[0])
    assert all(other == whole for other in split), f"whole and split differ: {pieces}, {limits}"


def _outcome(trace: list[Any]) -> Any:
    """What came of all pieces: heads, bodies, and whether there was an error."""
    assert {result for result, *_ in trace} == {"returned"}, trace
    heads = [head for _, (found, _, _), _, _ in trace for head in found]
    bodies = [body for _, (_, found, _), _, _ in trace for body in found]
    return heads, bodies, trace[-1][2] is None


def seeds() -> list[bytes]:
    """The first inputs: recorded streams, and those that tests accept or refuse."""
    from tests.fuzz.streams import LIMITS, STREAMS

    return [
        packed(stream[:MAX_BYTES], limits, cuts)
        for number, stream in enumerate(STREAMS)
        for limits in (0, 1 + number % (len(LIMITS) - 1))
        for cuts in ((), (7, 40, 41))
    ]


def made_up(rng: random.Random) -> Iterator[bytes]:
    """Inputs without end: streams spliced, edited and cut at random."""
    from tests.fuzz.streams import LIMITS, NOISE, STREAMS, edited

    yield from seeds()
    while True:
        stream = b"".join(rng.choices(STREAMS, k=rng.randrange(4))) * rng.randrange(1, 4)
        edits = [
            (
                rng.randrange(1 << 16),
                rng.randrange(4),
                rng.choice(NOISE) if rng.random() < 0.7 else rng.randbytes(rng.randrange(3)),
            )
            for _ in range(rng.randrange(4))
        ]
        cuts = [rng.randrange(1 << 16) for _ in range(rng.randrange(16))]
        yield packed(edited(stream, edits)[:MAX_BYTES], rng.randrange(len(LIMITS)), cuts)


def fuzz_blindly(backends: Sequence[Backend], seconds: float, seed: int, failures: Path) -> int:
    """Compare inputs that are made up from a seed; return how many, all alike.

    All from which a guided run starts come first, however long that takes.
    """
    end, least = time.monotonic() + seconds, len(seeds())
    count = 0
    for data in made_up(random.Random(seed)):
        with written_if_it_fails(data, failures):
            compare(backends, data)
        count += 1
        if count > least and time.monotonic() > end:
            break
    return count


@contextlib.contextmanager
def written_if_it_fails(data: bytes, failures: Path) -> Iterator[None]:
    """Keep an input that fails, and say where."""
    try:
        yield
    except Exception:
        path = failures / f"crash-{hashlib.sha1(data).hexdigest()}"
        path.write_bytes(data)
        print(f"failed; to try it again: python -m tests.fuzz.decoder {path}", file=sys.stderr)
        raise


def fuzz_guided(atheris: Any, seconds: int, seed: int, corpus: Path, failures: Path) -> None:
    """Compare inputs that reach more and more of the code; ends the program."""
    with atheris.instrument_imports(include=TRACED):
        from tests.backends import backends
        from tests.fuzz.streams import NOISE
    tried = backends()
    _tell(tried)
    for data in seeds():
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    words = failures / "words.dict"
    lines = ["".join(f"\\x{byte:02x}" for byte in word) for word in NOISE]
    words.write_text("".join(f'"{line}"\n' for line in lines))
    options = {
        "max_total_time": seconds,
        "seed": seed,
        "max_len": MAX_BYTES,
        "timeout": 10,
        "dict": words,
        "artifact_prefix": f"{failures}/",
        "verbosity": 0,
        "print_final_stats": 1,
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)],
        lambda data: compare(tried, data),
    )
    atheris.Fuzz()


def _tell(backends: Sequence[Backend]) -> None:
    kinds = " and ".join(backend.kind for backend in backends)
    print(f"comparing {kinds}, whole and in pieces", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.decoder", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blind", action="store_true", help="without atheris")
    parser.add_argument("--corpus", type=Path, help="where to keep inputs that reach new code")
    parser.add_argument("files", nargs="*", type=Path, help="inputs to try, and nothing else")
    given = parser.parse_args()
    failures = Path(tempfile.mkdtemp(prefix="fuzz-"))
    if not given.blind and not given.files:
        try:
            import atheris
        except ImportError as error:
            print(f"no atheris ({error}), so at random", file=sys.stderr)
        else:
            corpus = given.corpus or failures / "corpus"
            corpus.mkdir(parents=True, exist_ok=True)
            fuzz_guided(atheris, given.seconds, given.seed, corpus, failures)
            return
    from tests.backends import backends

    tried = backends()
    _tell(tried)
    for path in given.files:
        compare(tried, path.read_bytes())
    if not given.files:
        count = fuzz_blindly(tried, given.seconds, given.seed, failures)
        print(f"{count} inputs from seed {given.seed}, all seen alike", file=sys.stderr)


if __name__ == "__main__":
    main()
