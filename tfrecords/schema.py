"""One frame of a film as a `tf.train.Example`: one table for writing, parsing and `tf.data`.

TensorFlow takes four seconds and 450 MiB to import, too much for a program that only writes files.
So the handful of message types of `tf.train.Example` are declared here, in a descriptor pool of
their own (TensorFlow registers the same names in the default pool). The bytes are those of
TensorFlow's own `SerializeToString(deterministic=True)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from tfrecords.record_errors import RecordsError

IMAGE_FORMATS = ("jpeg", "png")


@dataclass(frozen=True)
class Frame:
    """One frame of one film, its picture encoded.

    Attributes:
        encoded: a complete JPEG or PNG file, RGB, 8 bits a channel; `format` is "jpeg" or "png".
        index: number of the frame in the film, from 0, without gaps.
        pts: presentation time in units of the film's time base; may be negative.
        film_id: first 16 hex digits of the source's SHA-256.
    """

    encoded: bytes
    format: str
    height: int
    width: int
    index: int
    pts: int
    film_id: str


@dataclass(frozen=True)
class Field:
    """One line of `SPEC`: an attribute of `Frame`, its key in the record and its type."""

    key: str
    attribute: str
    type: type[bytes] | type[str] | type[int]


SPEC = (
    Field("image/encoded", "encoded", bytes),
    Field("image/format", "format", str),
    Field("image/height", "height", int),
    Field("image/width", "width", int),
    Field("frame/index", "index", int),
    Field("frame/pts", "pts", int),
    Field("film/id", "film_id", str),
)


def _declare_example() -> type[message.Message]:
    """Return the message class `tensorflow.Example`, built in a private descriptor pool.

    Field numbers and types are those of tensorflow/core/example/{feature,example}.proto.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tfrecords/example.proto", package="tensorflow", syntax="proto3"
    )

    def add(owner: Any, name: str, number: int, kind: int, **rest: Any) -> None:
        rest.setdefault("label", field.LABEL_OPTIONAL)
        owner.field.add(name=name, number=number, type=kind, **rest)

    for name, kind in (
        ("BytesList", field.TYPE_BYTES),
        ("FloatList", field.TYPE_FLOAT),
        ("Int64List", field.TYPE_INT64),
    ):
        add(file.message_type.add(name=name), "value", 1, kind, label=field.LABEL_REPEATED)

    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), start=1):
        list_name = name.removesuffix("List").lower() + "_list"
        type_name = f".tensorflow.{name}"
        add(feature, list_name, number, field.TYPE_MESSAGE, type_name=type_name, oneof_index=0)

    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True  # a map<string, Feature> is a repeated key and value pair
    add(entry, "key", 1, field.TYPE_STRING)
    add(entry, "value", 2, field.TYPE_MESSAGE, type_name=".tensorflow.Feature")
    entry_type = ".tensorflow.Features.FeatureEntry"
    repeated = field.LABEL_REPEATED
    add(features, "feature", 1, field.TYPE_MESSAGE, type_name=entry_type, label=repeated)

    example = file.message_type.add(name="Example")
    add(example, "features", 1, field.TYPE_MESSAGE, type_name=".tensorflow.Features")

    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_Example: Any = _declare_example()


def serialize(frame: Frame) -> bytes:
    """Return `frame` as a serialised `tf.train.Example`; equal frames give equal bytes."""
    if frame.format not in IMAGE_FORMATS:
        raise ValueError(f"image format {frame.format!r} is not one of {IMAGE_FORMATS}")
    example = _Example()
    feature = example.features.feature
    for field in SPEC:
        value = getattr(frame, field.attribute)
        if field.type is int:
            feature[field.key].int64_list.value.append(value)
        else:
            encoded = value.encode("utf-8") if field.type is str else value
            feature[field.key].bytes_list.value.append(encoded)
    # Without `deterministic` the order of the map's keys may differ from process to process.
    return bytes(example.SerializeToString(deterministic=True))


def parse(serialized: bytes) -> Frame:
    """Return the frame in a serialised `tf.train.Example`; RecordsError if unlike `SPEC`."""
    try:
        feature = _Example.FromString(serialized).features.feature
    except message.DecodeError as error:
        raise RecordsError("the record is not a tf.train.Example") from error
    values: dict[str, Any] = {}
    for field in SPEC:
        value: Any = ()
        if field.key in feature:  # `feature[key]` would insert an absent key
            found = feature[field.key]
            value = found.int64_list.value if field.type is int else found.bytes_list.value
        if len(value) != 1:
            raise RecordsError(f"the record has no single {field.type.__name__} '{field.key}'")
        values[field.attribute] = value[0].decode("utf-8") if field.type is str else value[0]
    return Frame(**values)


def example_spec() -> dict[str, Any]:
    """Return `SPEC` as the features of `tf.io.parse_example`. Imports TensorFlow."""
    import tensorflow as tf

    return {
        field.key: tf.io.FixedLenFeature([], tf.int64 if field.type is int else tf.string)
        for field in SPEC
    }
