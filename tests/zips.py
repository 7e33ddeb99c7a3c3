"""Zips that readers could read in two ways, made of a genuine one."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Final

END: Final = 22
ROW: Final = b"PK\x01\x02"


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Write a genuine one."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def listed_at(packed: bytes) -> int:
    """Tell where the list of files of a genuine one begins."""
    (found,) = struct.unpack_from("<I", packed, len(packed) - END + 16)
    return int(found)


def of_two_minds(shown: Mapping[str, bytes], hidden: Mapping[str, bytes]) -> bytes:
    """Write one whose end names the list of some files, while right before it stands that of others.

    Python's `zipfile` finds the list by its size, before the end; other readers by its place, from the beginning.
    """
    first, last = zipped(shown), zipped({**hidden, "z": bytes(1 << 16)}, zipfile.ZIP_STORED)
    list_of_first, list_of_last = listed_at(first), listed_at(last)
    rows = first[list_of_first:-END]
    end = bytearray(last[-END:])
    end[8:12] = struct.pack("<2H", len(shown), len(shown))
    return first[:list_of_first] + bytes(list_of_last - list_of_first) + rows + last[:-END] + bytes(end)


def changed(packed: bytes) -> dict[str, bytes]:
    """Change each of what says where the files of a genuine zip are; none of these is one."""
    end, at = len(packed) - END, listed_at(packed)

    def put(place: int, value: bytes, whole: bytes = packed) -> bytes:
        return whole[:place] + value + whole[place + len(value) :]

    (count,) = struct.unpack_from("<H", packed, end + 10)
    (size,) = struct.unpack_from("<I", packed, at + 20)
    zip64 = b"PK\x06\x06" + bytes(52) + b"PK\x06\x07" + bytes(16)
    return {
        "comment": put(end + 20, b"\x05\x00") + b"hello",
        "comment that is not said": packed + b"hello",
        "something before it": b"before" + packed,
        "something behind the list": packed[:end] + b"behind" + packed[end:],
        "larger list": put(end + 12, struct.pack("<I", end - at + 1)),
        "less rows than there are": put(end + 10, struct.pack("<H", count - 1)),
        "more rows than there are": put(end + 10, struct.pack("<H", count + 1)),
        "zip64": packed[:end] + zip64 + packed[end:],
        "another name before the content": put(30, b"E"),
        "name that ends early": put(at + 46 + 3, b"\0"),
        "name in no encoding": put(30, b"\xff", put(at + 46, b"\xff")),
        "encrypted": put(at + 8, b"\x01"),
        "patched": put(at + 8, b"\x20"),
        "packed otherwise": put(at + 10, b"\x0c"),
        "other checksum": put(at + 16, b"\0\0\0\0"),
        "cut content": put(at + 20, struct.pack("<I", size - 1)),
        "content of nowhere": put(at + 42, struct.pack("<I", end)),
        "larger than all": put(at + 20, b"\xff\xff\xff\xff"),
    }


def with_more_behind(name: str, content: bytes) -> bytes:
    """Write one of whose file's packed bytes something stands behind the last block."""
    pressed = zlib.compressobj(wbits=-15)
    packed = pressed.compress(content) + pressed.flush() + b"junk"
    told = (8, 0, 0, zlib.crc32(content), len(packed), len(content), len(name), 0)
    row = struct.pack("<4s6H3I5H2I", ROW, 20, 20, 0, *told, 0, 0, 0, 0, 0)
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, *told)
    body = local + name.encode() + packed
    rows = row + name.encode()
    return body + rows + struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(rows), len(body), 0)
