"""The Mesos messages of the ``.proto`` files here, as classes; no protoc is needed.

The classes live in a pool of their own, so they get along with Mesos' real ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FOLDER = Path(__file__).parent
FILES = ("mesos.proto", "messages.proto", "scheduler.proto")

_FIELD = descriptor_pb2.FieldDescriptorProto
_LABELS = {
    "optional": _FIELD.LABEL_OPTIONAL,
    "required": _FIELD.LABEL_REQUIRED,
    "repeated": _FIELD.LABEL_REPEATED,
}
_TOKEN = re.compile(r"//[^\n]*|\s+|(\"[^\"]*\"|[\w.]+|[{}=;])")


def parse(name: str) -> descriptor_pb2.FileDescriptorProto:
    """Read one ``.proto`` file: messages, enums and plain fields are all it may contain."""
    text = (FOLDER / name).read_text()
    assert _TOKEN.sub("", text) == "", f"{name}: unexpected {_TOKEN.sub('', text)!r}"
    tokens = iter([match[1] for match in _TOKEN.finditer(text) if match[1]])
    file = descriptor_pb2.FileDescriptorProto(name=name)
    for token in tokens:
        if token in ("message", "enum"):
            _definition(file.message_type if token == "message" else file.enum_type, tokens, token)
        elif token == "syntax":
            assert _statement(tokens) == ["=", '"proto2"']
        elif token == "package":
            (file.package,) = _statement(tokens)
        else:
            assert token == "import", f"{name}: unexpected {token}"
            file.dependency.append(_statement(tokens)[0].strip('"'))
    return file


def _statement(tokens: Iterator[str]) -> list[str]:
    return list(iter(lambda: next(tokens), ";"))


def _definition(into: Any, tokens: Iterator[str], kind: str) -> None:
    made = into.add(name=next(tokens))
    assert next(tokens) == "{"
    for token in iter(lambda: next(tokens), "}"):
        if token in ("message", "enum"):
            _definition(made.nested_type if token == "message" else made.enum_type, tokens, token)
        elif kind == "enum":
            _, number = _statement(tokens)
            made.value.add(name=token, number=int(number))
        else:
            type_name, name, _, number = _statement(tokens)
            field = made.field.add(name=name, number=int(number), label=_LABELS[token])
            scalar = f"TYPE_{type_name.upper()}"
            if scalar in _FIELD.Type.keys():  # noqa: SIM118  (no dict)
                field.type = _FIELD.Type.Value(scalar)
            else:
                field.type_name = type_name  # resolved once all files are read


def definitions(file: Any) -> Iterator[tuple[str, Any]]:
    """Every message and enum that a file descriptor defines, with its full name."""
    waiting = [(file.package, found) for found in (*file.message_type, *file.enum_type)]
    while waiting:
        scope, found = waiting.pop()
        full_name = f"{scope}.{found.name}"
        yield full_name, found
        if isinstance(found, descriptor_pb2.DescriptorProto):
            waiting += [(full_name, inner) for inner in (*found.nested_type, *found.enum_type)]


def build() -> list[descriptor_pb2.FileDescriptorProto]:
    """All files here, with the types of all fields resolved."""
    files = [parse(name) for name in FILES]
    known = {full_name: found for file in files for full_name, found in definitions(file)}
    for scope, definition in known.items():
        for field in getattr(definition, "field", ()):
            if field.type_name:
                _resolve(field, scope, known)
    return files


def _resolve(field: Any, scope: str, known: dict[str, Any]) -> None:
    """Look the type of a field up in its scope, then in the scopes around it."""
    while (full_name := f"{scope}.{field.type_name}") not in known:
        scope = scope.rpartition(".")[0]
        assert scope, f"no type {field.type_name}"
    is_enum = isinstance(known[full_name], descriptor_pb2.EnumDescriptorProto)
    field.type = _FIELD.TYPE_ENUM if is_enum else _FIELD.TYPE_MESSAGE
    field.type_name = f".{full_name}"


_pool = descriptor_pool.DescriptorPool()
for _file in build():
    _pool.AddSerializedFile(_file.SerializeToString())


def message(full_name: str) -> Any:
    """The class of a message, such as ``mesos.scheduler.Call``."""
    descriptor = _pool.FindMessageTypeByName(full_name)
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    factory: Any = message_factory.MessageFactory(_pool)  # protobuf < 4.22
    return factory.GetPrototype(descriptor)


Call = message("mesos.scheduler.Call")
FrameworkErrorMessage = message("mesos.internal.FrameworkErrorMessage")
FrameworkInfo = message("mesos.FrameworkInfo")
FrameworkRegisteredMessage = message("mesos.internal.FrameworkRegisteredMessage")
FrameworkReregisteredMessage = message("mesos.internal.FrameworkReregisteredMessage")
FrameworkToExecutorMessage = message("mesos.internal.FrameworkToExecutorMessage")
Offer = message("mesos.Offer")
ReconcileTasksMessage = message("mesos.internal.ReconcileTasksMessage")
RegisterFrameworkMessage = message("mesos.internal.RegisterFrameworkMessage")
ReregisterFrameworkMessage = message("mesos.internal.ReregisterFrameworkMessage")
ResourceOffersMessage = message("mesos.internal.ResourceOffersMessage")
StatusUpdateMessage = message("mesos.internal.StatusUpdateMessage")
