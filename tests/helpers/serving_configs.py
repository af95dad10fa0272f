"""TensorFlow Serving's config messages, to read the files in serving/ as the server would.

Text needs names and types only; the numbers are the official ones all the same.
"""

from pathlib import Path
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from tests.helpers.commands import ROOT

_FILE = descriptor_pb2.FileDescriptorProto()
text_format.Parse(
    """
name: "serving_configs.proto" package: "t" syntax: "proto3"
dependency: "google/protobuf/wrappers.proto"
message_type { name: "BatchingParameters"
  field { name: "max_batch_size" number: 1 type_name: ".google.protobuf.Int64Value" }
  field { name: "batch_timeout_micros" number: 2 type_name: ".google.protobuf.Int64Value" }
  field { name: "max_enqueued_batches" number: 3 type_name: ".google.protobuf.Int64Value" }
  field { name: "num_batch_threads" number: 4 type_name: ".google.protobuf.Int64Value" }
  field { name: "thread_pool_name" number: 5 type_name: ".google.protobuf.StringValue" }
  field { name: "allowed_batch_sizes" number: 6 type: TYPE_INT64 label: LABEL_REPEATED }
  field { name: "pad_variable_length_inputs" number: 7 type: TYPE_BOOL } }
message_type { name: "PrometheusConfig"
  field { name: "enable" number: 1 type: TYPE_BOOL }
  field { name: "path" number: 2 type: TYPE_STRING } }
message_type { name: "MonitoringConfig"
  field { name: "prometheus_config" number: 1 type_name: ".t.PrometheusConfig" } }
message_type { name: "Latest" field { name: "num_versions" number: 1 type: TYPE_UINT32 } }
message_type { name: "ServableVersionPolicy"
  field { name: "latest" number: 100 type_name: ".t.Latest" } }
message_type { name: "ModelConfig"
  field { name: "name" number: 1 type: TYPE_STRING }
  field { name: "base_path" number: 2 type: TYPE_STRING }
  field { name: "model_platform" number: 4 type: TYPE_STRING }
  field { name: "model_version_policy" number: 7 type_name: ".t.ServableVersionPolicy" } }
message_type { name: "ModelConfigList"
  field { name: "config" number: 1 type_name: ".t.ModelConfig" label: LABEL_REPEATED } }
message_type { name: "ModelServerConfig"
  field { name: "model_config_list" number: 1 type_name: ".t.ModelConfigList" } }
""",
    _FILE,
)


def _pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    for message in _FILE.message_type:
        for field in message.field:
            if field.type_name:
                field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
            if not field.HasField("label"):
                field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    pool.AddSerializedFile(_FILE.SerializeToString())
    return pool


_POOL = _pool()


def read_config(name: str, message: str, folder: Path = ROOT / "serving") -> Any:
    """Return serving/NAME as a message; ParseError if the server would refuse the file."""
    kind = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"t.{message}"))
    return text_format.Parse((folder / name).read_text("utf-8"), kind())
