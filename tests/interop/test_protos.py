"""Our message definitions agree with Mesos' own, and with protoc."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from . import protos
from .mesos_fixture import Mesos

MESOS_FILES = {
    "mesos.proto": "mesos/mesos.proto",
    "messages.proto": "messages/messages.proto",
    "scheduler.proto": "mesos/scheduler/scheduler.proto",
}


@pytest.mark.parametrize("name", protos.FILES)
def test_definitions_are_part_of_those_in_the_library_of_mesos(mesos: Mesos, name: str) -> None:
    theirs = mesos.descriptors()[MESOS_FILES[name]]
    built = next(file for file in protos.build() if file.name == name)
    assert built.package == theirs.package
    mesos_definitions = dict(protos.definitions(theirs))
    for full_name, ours in protos.definitions(built):
        original = mesos_definitions[full_name]
        if isinstance(ours, descriptor_pb2.EnumDescriptorProto):
            values = {value.name: value.number for value in original.value}
            assert {v.name: v.number for v in ours.value}.items() <= values.items()
            continue
        fields = {f.number: (f.name, f.label, f.type, f.type_name) for f in original.field}
        for field in ours.field:
            described = (field.name, field.label, field.type, field.type_name)
            assert described == fields[field.number], full_name
        required = {f.number for f in original.field if f.label == f.LABEL_REQUIRED}
        assert required <= {f.number for f in ours.field}, full_name


def test_protoc_reads_the_files_alike(tmp_path: Path) -> None:
    out = tmp_path / "descriptors"
    arguments = [f"--proto_path={protos.FOLDER}", f"--descriptor_set_out={out}", *protos.FILES]
    assert protoc.main(["protoc", *arguments]) == 0
    compiled = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    for file in compiled.file:
        file.ClearField("syntax")  # proto2 is the default
        for _, found in protos.definitions(file):
            for field in getattr(found, "field", ()):
                field.ClearField("json_name")
    assert {file.name: file for file in protos.build()} == {f.name: f for f in compiled.file}


def test_a_message_without_its_required_fields_is_not_initialized() -> None:
    assert not protos.RegisterFrameworkMessage().IsInitialized()
    assert not protos.StatusUpdateMessage().IsInitialized()
