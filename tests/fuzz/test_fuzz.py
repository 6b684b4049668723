"""The fuzzer of decoders: it runs, it finds what differs, and what it found can be tried again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compactor.runtime import hot_path
from compactor.wire.request_decoder import RequestDecoder
from tests.backends import ROOT, backends, kinds
from tests.fuzz.decoder import MAX_BYTES, compare, fuzz_blindly, packed, seeds
from tests.fuzz.streams import RECORDED, STREAMS

PYTHON = hot_path.backend("python")
SECONDS = 30  # in which a difference that is easy to find is found


def fuzz(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.decoder", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


class Lossy(RequestDecoder):
    """Misreads what only some inputs hold."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[object]:
        return super().feed(data.replace(b"\0", b""))


class Forgetful(RequestDecoder):
    """Reads a stream in one piece, and no other."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[object]:
        if self.unfinished:
            return []
        return super().feed(data)


def test_it_starts_from_every_recorded_stream() -> None:
    assert RECORDED
    assert set(RECORDED) <= set(STREAMS)
    first = seeds()
    assert all(packed(stream[:MAX_BYTES]) in first for stream in RECORDED)


def test_blind_it_tries_both_backends_and_finds_nothing() -> None:
    done = fuzz("--blind", "--seconds", "1", "--seed", "7")
    assert done.returncode == 0, done.stderr
    first, last = done.stderr.splitlines()
    assert first == f"comparing {' and '.join(kinds())}, whole and in pieces"
    assert int(last.split()[0]) > len(seeds())
    assert last.endswith("inputs from seed 7, all seen alike")


def test_guided_it_finds_nothing() -> None:
    pytest.importorskip("atheris")
    done = fuzz("--seconds", "2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "comparing " in done.stderr
    assert int(done.stderr.partition("executed_units:")[2].split()[0]) > len(seeds())


def test_a_difference_between_backends_is_found_kept_and_found_again(tmp_path: Path) -> None:
    pair = [PYTHON, PYTHON._replace(kind="lossy", RequestDecoder=Lossy)]
    with pytest.raises(AssertionError, match="backends differ"):
        fuzz_blindly(pair, SECONDS, 1, tmp_path)
    (kept,) = tmp_path.iterdir()
    with pytest.raises(AssertionError, match="backends differ"):
        compare(pair, kept.read_bytes())
    compare(backends(), kept.read_bytes())
    assert fuzz(kept).returncode == 0


def test_a_difference_between_whole_and_split_is_found(tmp_path: Path) -> None:
    alone = [PYTHON._replace(kind="forgetful", RequestDecoder=Forgetful)]
    with pytest.raises(AssertionError, match="whole and split differ"):
        fuzz_blindly(alone, SECONDS, 1, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\x0f", b"\xff\xff\xff"], ids=repr)
def test_inputs_too_short_to_say_anything_are_streams_too(data: bytes) -> None:
    compare(backends(), data)
