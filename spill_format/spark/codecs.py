"""The codecs that Spark compresses shuffle streams with: known by their magic, and whether their frames concatenate.

Pure. A merge never looks at any of this: it joins bytes, and it is for the reader to know that a range is several
streams, one behind the other.
"""
# PURE

from __future__ import annotations

_MAGICS = {
    "lz4-block": b"LZ4Block",  # lz4-java's LZ4BlockOutputStream
    "lz4-frame": b"\x04\x22\x4d\x18",
    "zstd": b"\x28\xb5\x2f\xfd",
    "snappy": b"\x82SNAPPY\x00",  # snappy-java's SnappyOutputStream
    "lzf": b"ZV",  # compress-lzf; the third byte says whether the chunk is compressed
}
MAGIC_BYTES = max(map(len, _MAGICS.values()))
"""So many bytes from the start of a range are enough to tell."""

UNKNOWN_CODEC = "none or unknown"

_CONCATENABLE = frozenset({"none", "lz4", "lzf", "snappy", "zstd"})
_SPARK_CLASSES = {
    "org.apache.spark.io.LZ4CompressionCodec": "lz4",
    "org.apache.spark.io.LZFCompressionCodec": "lzf",
    "org.apache.spark.io.SnappyCompressionCodec": "snappy",
    "org.apache.spark.io.ZStdCompressionCodec": "zstd",
}


def recognize_codec(start: bytes) -> str:
    """Recognize the framing that a range begins with: ``lz4-block``, ``lz4-frame``, ``zstd``, ``snappy`` or ``lzf``;
    else return ``none or unknown``, since bytes without a codec have no magic."""
    for name, magic in _MAGICS.items():
        if start.startswith(magic) and (name != "lzf" or start[2:3] in {b"\x00", b"\x01"}):
            return name
    return UNKNOWN_CODEC


def check_concatenable(codec: str) -> None:
    """Check that streams of a codec can be put one after the other and be read as one.

    Args:
        codec: as ``spark.io.compression.codec`` has it, a short name or a class; ``none``; or ``encrypted``, for
            ``spark.io.encryption.enabled``.

    Raises:
        ValueError: they cannot, or it is not known that they can; with the reason.
    """
    if codec == "encrypted":
        raise ValueError(
            "encrypted ranges cannot be merged without decrypting them: each begins with an initialization vector of "
            "its own, and a reader takes only the first; let Spark read them, or write them unencrypted"
        )
    if _SPARK_CLASSES.get(codec, codec.lower()) not in _CONCATENABLE:
        raise ValueError(
            f"ranges compressed with {codec} cannot be merged without decoding them: only of "
            f"{', '.join(sorted(_CONCATENABLE))} is it known that a reader goes on behind the end of the first "
            "stream; set spark.io.compression.codec to one of these"
        )
