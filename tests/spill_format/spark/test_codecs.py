"""Codecs are known by their magic, and one whose streams cannot be concatenated is refused with the reason."""

import pytest

from spill_format.spark.codecs import MAGIC_BYTES, check_concatenable, recognize_codec


@pytest.mark.parametrize(
    ("start", "codec"),
    [
        (b"LZ4Block%\x17\x00", "lz4-block"),
        (b"\x04\x22\x4d\x18\x60", "lz4-frame"),
        (b"\x28\xb5\x2f\xfd\x00H", "zstd"),
        (b"\x82SNAPPY\x00\x00\x00\x00\x01", "snappy"),
        (b"ZV\x01\x00\x10", "lzf"),
        (b"ZV\x00\x00\x10", "lzf"),
        (b"ZVx", "none or unknown"),
        (b"\x00\x00\x00\x18", "none or unknown"),  # the length of a row
        (b"", "none or unknown"),
    ],
)
def test_a_codec_is_known_by_its_magic(start: bytes, codec: str) -> None:
    assert recognize_codec(start[:MAGIC_BYTES]) == codec


@pytest.mark.parametrize(
    "codec", ["none", "lz4", "LZ4", "lzf", "snappy", "zstd", "org.apache.spark.io.ZStdCompressionCodec"]
)
def test_sparks_own_codecs_concatenate(codec: str) -> None:
    check_concatenable(codec)


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        ("encrypted", "initialization vector"),
        ("com.example.DeflateCodec", "com.example.DeflateCodec cannot be merged without decoding"),
        ("brotli", "goes on behind the end of the first stream"),
    ],
)
def test_others_are_refused_with_the_reason(codec: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_concatenable(codec)
