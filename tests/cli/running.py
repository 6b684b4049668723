"""The ``compactor`` command in this process, as tests run most of it."""

from __future__ import annotations

from collections.abc import Mapping

from click.testing import CliRunner, Result

from compactor.cli.group import compactor


def command(
    *args: object, input: bytes | str | None = None, env: Mapping[str, str | None] | None = None
) -> Result:
    """Run a command; a traceback fails the test."""
    done = CliRunner().invoke(compactor, [str(arg) for arg in args], input=input, env=env)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert "Traceback" not in done.output
    return done


def fails(code: int, *args: object, **kw: object) -> str:
    """Run a command that must end with a code, and return what it says of that."""
    done = command(*args, **kw)  # type: ignore[arg-type]
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    return done.stderr
