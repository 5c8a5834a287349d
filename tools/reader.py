#!/usr/bin/env python3
"""An independent reader of cratehold archives, written from format-1.md alone.

    reader.py list    ARCHIVE
    reader.py verify  ARCHIVE
    reader.py extract ARCHIVE NAME@VERSION -o FILE [--tar]

It needs Python 3.9 and one package for zstd: pip install zstandard
It gives back the tar of every crate, and the exact .crate file where its deflate
engine is the zlib that Python has (engines 2 and 3) or none at all (0). It never
writes a .crate whose SHA-256 is not the one asked for. It only ever reads the
archive, and reads the whole index and manifest each time, all checksums with them.
Functions are in the spec's order and cite its rules, as [R n.m].

Exit codes: 0 all is well, 1 damage or not possible, 2 wrong command line.
"""

import argparse
import functools
import hashlib
import os
import re
import struct
import sys
import zlib
from collections import namedtuple

try:
    import zstandard
except ImportError:
    sys.exit("reader.py: the zstd package is missing; install it with: pip install zstandard")

PAGE = 4096
ZEROS = bytes(32)
MAX_CHAIN_FRAMES = 10_000  # [R 11.2]
MAX_CONTENT_BYTES = 2**32 - 1  # [R 5.5]
CACHE_BYTES = 256 << 20
ENGINES = {0: "none", 1: "miniz", 2: "zlib, memLevel 9", 3: "zlib, memLevel 8", 4: "zlib-rs 0.6", 5: "zlib-rs 0.5"}
ADDED, YANKED, UNYANKED, AMENDED, REPLACED, REMOVED, RESTORED, PURGED, MISSING, ETAG = range(1, 11)  # [R 7.5]


class Damage(Exception):
    """Bytes that are not what the format says; the message says which and where."""


class Impossible(Exception):
    """Nothing is damaged, but this reader cannot do what was asked."""


def need(condition, message):
    if not condition:
        raise Damage(message)


# ---- Section 3: variable-length structures -----------------------------------


class Cursor:
    """Takes fields off the front of some bytes, never past their end."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def take(self, count):
        taken = bytes(self.data[self.at : self.at + count])
        need(len(taken) == count, f"{self.what}: ends at byte {len(self.data)}, expected {count} more at {self.at}")
        self.at += count
        return taken

    def u8(self):
        return self.take(1)[0]

    def uint(self):  # [R 3.2]
        tag = self.u8()
        if tag < 251:
            return tag
        need(tag <= 253, f"{self.what}: tag {tag} at byte {self.at - 1} begins no integer")
        return int.from_bytes(self.take({251: 2, 252: 4, 253: 8}[tag]), "little")

    def u32(self):
        value = self.uint()
        need(value < 2**32, f"{self.what}: {value} is too large for a u32")
        return value

    def blob(self):
        return self.take(self.uint())

    def string(self):
        try:
            return self.blob().decode("utf-8")
        except UnicodeDecodeError:
            raise Damage(f"{self.what}: text before byte {self.at} is not UTF-8") from None

    def flag(self):  # [R 3.4]
        value = self.u8()
        need(value <= 1, f"{self.what}: byte {self.at - 1} is {value}, expected 0 or 1")
        return value == 1

    def option(self, read):
        return read() if self.flag() else None

    def optional_blob(self):
        return self.option(self.blob)

    def optional_digest(self):
        return self.option(self.digest)

    def digest(self):
        return self.take(32)

    def id16(self):
        return self.take(16)

    def list_of(self, layout):
        return [self.structure(layout) for _ in range(self.uint())]

    def structure(self, layout):  # [R 3.1]
        """Fields in order, as a dictionary; `layout` is their names and types."""
        return {name: getattr(self, kind)() for name, kind in (field.split() for field in layout.split(","))}

    def done(self):
        return self.at == len(self.data)

    def end(self):  # [R 3.4]
        need(self.done(), f"{self.what}: {len(self.data) - self.at} bytes left over at byte {self.at}")


def push_uint(value):  # [R 3.2]
    for tag, limit, form in ((251, 2**16, "<BH"), (252, 2**32, "<BI"), (253, 2**64, "<BQ")):
        if value <= 250:
            return bytes([value])
        if value < limit:
            return struct.pack(form, tag, value)
    raise ValueError(value)


def push_blob(data):
    return push_uint(len(data)) + data


# ---- Section 4: heads --------------------------------------------------------


HEAD = (
    "archive_id id16, incompatible_features uint, write_features uint, generation uint, time uint,"
    "previous_head digest, root digest"
)
PACK = "pack u32, bytes uint, sealed flag"  # [R 4.4]
SEGMENT = "generation uint, bytes uint, sha256 digest"  # [R 4.5]
EXTRA = "path string, bytes uint, sha256 digest"  # [R 4.6]


def decode_head(data, what):  # [R 4.1] to [R 4.3]
    need(len(data) >= 20, f"{what}: {len(data)} bytes, expected at least 20")
    magic, version, length, crc = struct.unpack_from("<8sIII", data)
    need(magic == b"CRHHEAD1", f"{what}: head magic: expected CRHHEAD1, found {magic!r}")
    need(version == 1, f"{what}: format version {version}, this reader knows 1")  # [R 9.1]
    body = data[20 : 20 + length]
    need(len(body) == length, f"{what}: its structure of {length} bytes does not fit in the file")
    need(zlib.crc32(body, zlib.crc32(data[:16])) == crc, f"{what}: head checksum is wrong")
    cursor = Cursor(body, what)
    head = cursor.structure(HEAD)
    bits = head["incompatible_features"]
    need(bits == 0, f"{what}: incompatible features {bits:#x}: a newer reader is needed")  # [R 9.2] [R 9.7]
    for name, layout in (("packs", PACK), ("indexes", SEGMENT), ("manifests", SEGMENT), ("extras", EXTRA)):
        head[name] = cursor.list_of(layout)
    head["sha256"] = hashlib.sha256(body).digest()
    cursor.end()
    return head


# ---- Section 5: packs --------------------------------------------------------


def unframe(data, magic, what):  # [R 5.1]
    """The structure in a skippable frame, and where the frame ends."""
    need(len(data) >= 8, f"{what}: cut short")
    found, length = struct.unpack_from("<II", data)
    need(found == magic, f"{what}: expected magic {magic:08x}, found {found:08x}")
    need(4 <= length <= 2**20 and 8 + length <= len(data), f"{what}: a length of {length} cannot be")
    body, crc = data[8 : 4 + length], struct.unpack_from("<I", data, 4 + length)[0]
    need(zlib.crc32(body) == crc, f"{what}: checksum is wrong")
    return body, 8 + length


def decode_pack_header(data, what):  # [R 5.1]
    body, _ = unframe(data, 0x184D2A5B, what)
    cursor = Cursor(body, what)
    header = cursor.structure("format_version u32, archive_id id16, pack u32")
    cursor.end()
    version = header["format_version"]  # the rest need not be checked [R 5.10]
    need(version == 1, f"{what}: format version {version}, this reader knows 1")


METADATA = (  # [R 5.5]
    "kind u8, digest digest, name string, version string, crate_bytes uint, content_bytes uint,"
    "content_crc32 u32, frame_bytes uint, frame_crc32 u32, base optional_digest, chain_depth u32,"
    "chain_bytes uint, transform u8, engine u8, gzip_os u8, gzip_header optional_blob,"
    "gzip_trailer optional_blob"
)


def decode_metadata(data, what):  # [R 5.3] [R 5.9]
    """A record's metadata, and where its zstd frame begins."""
    body, end = unframe(data, 0x184D2A5C, f"{what}: record metadata")
    cursor = Cursor(body, f"{what}: record metadata")
    meta = cursor.structure(METADATA)
    cursor.end()
    need(meta["kind"] in (1, 2), f"{what}: record kind {meta['kind']}, this reader knows 1 and 2")
    transform, has_tar = meta["transform"], meta["kind"] == 1 and meta["engine"] != 0
    need(transform in (0, 1), f"{what}: content transform {transform}: a newer reader is needed")
    need(transform == 0 or has_tar, f"{what}: content transform {transform} of what is no tar")
    need(meta["content_bytes"] <= MAX_CONTENT_BYTES, f"{what}: a content of {meta['content_bytes']} bytes cannot be")
    return meta, end


def decode_frame(meta, frame, base, what):  # [R 5.7] [R 5.8]
    need(len(frame) == meta["frame_bytes"], f"{what}: frame of {len(frame)} bytes, expected {meta['frame_bytes']}")
    need(zlib.crc32(frame) == meta["frame_crc32"], f"{what}: frame checksum is wrong")
    prefix = None
    if base:
        prefix = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    content = unzstd(frame, meta["content_bytes"], what, prefix)
    need(zlib.crc32(content) == meta["content_crc32"], f"{what}: content checksum is wrong")
    return content


def unzstd(frame, expected_bytes, what, prefix=None):
    """One frame, decoded to exactly the length that is expected of it."""
    try:
        stated = zstandard.frame_content_size(frame)
        need(stated in (-1, expected_bytes), f"{what}: decodes to {stated} bytes, expected {expected_bytes}")
        decoder = zstandard.ZstdDecompressor(dict_data=prefix, max_window_size=2**31)
        content = decoder.decompress(frame, max_output_size=expected_bytes)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Damage(f"{what}: zstd: {error or 'not enough memory'}") from None
    need(len(content) == expected_bytes, f"{what}: decodes to {len(content)} bytes, expected {expected_bytes}")
    return content


# ---- Section 6: segments and the index ---------------------------------------


class Segment:
    """A segment file with all its checksums found right; `body` and `fields`."""

    def __init__(self, data, magic, entry, what):  # [R 6.1] to [R 6.3]
        need(len(data) >= PAGE, f"{what}: {len(data)} bytes, expected at least {PAGE}")
        found, version, crc, generation, length = struct.unpack_from("<8sIIQQ", data)
        need(found == magic, f"{what}: segment magic: expected {magic.decode()}, found {found!r}")
        need(version == 1, f"{what}: format version {version}, this reader knows 1")
        header = data[:12] + bytes(4) + data[16:PAGE]
        need(zlib.crc32(header) == crc, f"{what}: segment header checksum is wrong")
        pages = -(-length // PAGE)
        expected = PAGE + pages * (PAGE + 4)
        need(len(data) == expected, f"{what}: {len(data)} bytes, expected {expected} by its header")
        need(len(data) == entry["bytes"], f"{what}: {len(data)} bytes, expected {entry['bytes']} by the head")
        need(generation == entry["generation"], f"{what}: generation {generation}, expected {entry['generation']}")
        sums = struct.unpack_from(f"<{pages}I", data, PAGE + pages * PAGE)
        for page, stored in enumerate(sums, 1):
            found = zlib.crc32(data[page * PAGE : (page + 1) * PAGE])
            need(found == stored, f"{what}: page checksum is wrong at byte {page * PAGE}")
        need(hashlib.sha256(data).digest() == entry["sha256"], f"{what}: SHA-256 is not the one in the head")
        self.fields = struct.unpack_from("<16Q", data, 32)
        self.body = memoryview(data)[PAGE : PAGE + length]
        self.what = what

    def section(self, i):  # [R 7.1] [R 7.10]
        start, length = self.fields[2 * i : 2 * i + 2]
        need(start + length <= len(self.body), f"{self.what}: section {i} lies outside the body")
        return bytes(self.body[start : start + length])


Entry = namedtuple("Entry", "digest pack offset bytes kind")


def index_entries(segment):  # [R 6.4] to [R 6.7]
    """Every entry by digest, their order and the fanout checked."""
    count, bits, start = segment.fields[:3]
    fits = bits <= 24 and start >= 4 * (2**bits + 1) and start + 64 * count == len(segment.body)
    need(fits, f"{segment.what}: index layout: sections do not fill the body")
    fanout = struct.unpack_from(f"<{2**bits + 1}I", segment.body)
    counts = [0] * (2**bits + 1)
    entries, last = {}, b""
    for i in range(count):
        entry = Entry(*struct.unpack_from("<32sIII16xB3x", segment.body, start + 64 * i))  # [R 6.5]
        digest = entry.digest
        need(digest > last, f"{segment.what}: index order: digests do not ascend at entry {i}")
        need(entry.kind in (1, 2, 3), f"{segment.what}: index entry kind {entry.kind} at entry {i}")
        counts[(int.from_bytes(digest[:4], "big") >> (32 - bits)) + 1] += 1
        entries[digest] = entry
        last = digest
    total = 0
    for bucket, in_bucket in enumerate(counts):
        total += in_bucket
        need(fanout[bucket] == total, f"{segment.what}: index fanout: item {bucket} is {fanout[bucket]}, not {total}")
    return entries


# ---- Section 7: manifest -----------------------------------------------------


TRANSACTION = (
    "generation uint, parent digest, time uint, registry string, cursor string, source string, event_count uint"
)


def transactions(segment):  # [R 7.3]
    cursor, found = Cursor(segment.section(0), f"{segment.what}: transactions"), []
    for _ in range(cursor.uint()):
        start = cursor.at
        one = cursor.structure(TRANSACTION)
        one["hasher"], one["seen"] = hashlib.sha256(cursor.data[start : cursor.at]), 0
        one["hash"] = cursor.digest()
        found.append(one)
    cursor.end()
    return found


Event = namedtuple("Event", "name flags generation version digest text")


def blocks(segment):  # [R 7.6] [R 7.10]
    """The beginning of each block's first key, and the block."""
    data, directory = segment.section(1), segment.section(2)
    need(len(directory) % 24 == 0, f"{segment.what}: manifest directory: not whole entries")
    entries = list(struct.iter_unpack("<16sQ", directory))
    starts = [start for _, start in entries] + [len(data)]
    need(starts[0] == 0 and starts == sorted(starts), f"{segment.what}: manifest directory: offsets are wrong")
    for i, (prefix, start) in enumerate(entries):
        yield prefix[::-1], data[start : starts[i + 1]]


def crate_events(segment):  # [R 7.6]
    """Every event in record order, with its restored text."""
    last, names, events = None, 0, 0
    for prefix, data in blocks(segment):
        what = f"{segment.what}: crate block"
        block = Cursor(data, what)
        length, raw, record_count, event_count, digest_count, frame_count = struct.unpack("<6I", block.take(24))
        sizes = list(struct.iter_unpack("<III", block.take(12 * frame_count)))
        records = Cursor(unzstd(block.take(length), bounded(raw, what), what), f"{segment.what}: crate records")
        digests = Cursor(block.take(32 * digest_count), f"{segment.what}: digests")
        texts = stored_texts([(block.take(size), raw, count) for size, raw, count in sizes], segment.what)
        next(texts)
        block.end()
        in_block = [0, 0]
        while not records.done():
            record = Cursor(records.blob(), f"{segment.what}: crate record")
            name, count, with_digest, with_text = record.string(), record.uint(), record.uint(), record.uint()
            order = (key_of(name).encode(), name.encode())
            wrong_key = in_block[0] == 0 and prefix != order[0][:16].ljust(16, b"\0")
            need(not wrong_key, f"{segment.what}: manifest directory: wrong key for {name}")
            need(last is None or last < order, f"{segment.what}: names do not ascend at {name}")
            last, oldest, is_first = order, 0, True
            in_block = [in_block[0] + 1, in_block[1] + count]
            for _ in range(count):
                flags, generation, version = record.u8(), record.uint(), record.string()
                need(kind_of(flags) in range(1, 11), f"{segment.what}: event kind {kind_of(flags)} in {name}, not 1 to 10")
                need(generation >= oldest, f"{segment.what}: events of {name} are not oldest first")  # [R 7.12]
                oldest = generation
                digest, text = digests.digest() if flags & 0x20 else None, None
                if flags & 0x80:
                    text = restore_text(texts.send(is_first), name, version, digest, segment.what)
                    is_first = False
                with_digest, with_text = with_digest - (digest is not None), with_text - (text is not None)
                yield Event(name, flags, generation, version, digest, text)
            record.end()
            need((with_digest, with_text) == (0, 0), f"{segment.what}: counts of digests or texts of {name} are wrong")
        digests.end()
        need(next(texts) is None, f"{segment.what}: there are texts that no event has")
        need(in_block == [record_count, event_count], f"{what}: counts of records or events are wrong")
        names, events = names + in_block[0], events + in_block[1]
    need(segment.fields[6:8] == (names, events), f"{segment.what}: counts of records or events are wrong")


def kind_of(flags):
    return flags & 0x1F


def bounded(raw_bytes, what):  # [R 7.9]
    need(raw_bytes <= 2**28, f"{what}: {raw_bytes} bytes, expected at most {2**28}")
    return raw_bytes


def stored_texts(frames, what):  # [R 7.8] [R 7.9]
    """A generator: whoever sends it whether a record begins gets the next stored text,
    or None at the end."""
    is_first, stored = (yield), b""
    for frame, raw_bytes, count in frames:
        cursor, total, stored = Cursor(unzstd(frame, bounded(raw_bytes, what), what), f"{what}: text frame"), 0, b""
        for _ in range(count):
            prefix, suffix, middle = cursor.uint(), cursor.uint(), cursor.blob()
            stored = b"" if is_first else stored
            kept = prefix + suffix <= len(stored)
            need(kept, f"{what}: a text keeps {prefix} and {suffix} bytes of {len(stored)}")
            stored = stored[:prefix] + middle + stored[len(stored) - suffix :]
            total = bounded(total + len(stored), what)
            is_first = yield stored
        cursor.end()
    yield None


FRAGMENTS = [  # [R 7.21]
    '{"name":"',
    '],"cksum":"',
    '},"yanked":false',
    ',"links":null}',
    ',"rust_version":"',
    ',"pubtime":"20',
    '":["',
    '","req":"',
    '","vers":"',
    '","deps":[',
    '","kind":"normal"}',
    '","features":{',
    '","features":["',
    '","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}',
    '","features":[],"optional":true,"default_features":true,"target":null,"kind":"normal"}',
    '","features":[],"optional":false,"default_features":true,"target":null,"kind":"dev"}',
    '","features":[],"optional":false,"default_features":true,"target":null,"kind":"build"}',
    '","features":[],"optional":false,"default_features":false,"target":null,"kind":"normal"}',
    '","features":[],"optional":true,"default_features":false,"target":null,"kind":"normal"}',
    '","features":[],"optional":false,"default_features":true,"target":"',
    '","',
    '"],"optional":false,"default_features":true,"target":null,"kind":"normal"}',
    '"],"optional":false,"default_features":false,"target":null,"kind":"normal"}',
    '"],"optional":true,"default_features":true,"target":null,"kind":"normal"}',
    '"],"optional":true,"default_features":false,"target":null,"kind":"normal"}',
    '"],"optional":false,"default_features":true,"target":null,"kind":"dev"}',
    '"],"optional":false,"default_features":true,"target":"',
    '"],"',
]


def restore_text(stored, name, version, digest, what):  # [R 7.7]
    need(stored is not None, f"{what}: a text of {name} does not exist")
    if stored[:1] == b"\0":
        return stored[1:]
    need(b"\0" not in stored, f"{what}: a text of {name} has a byte 0 within")
    need(digest is not None or b"\3" not in stored, f"{what}: a text of {name} asks for a digest that is not there")
    marks = [b"", name.encode(), version.encode(), (digest or b"").hex().encode()]
    marks += [fragment.encode() for fragment in FRAGMENTS]
    return re.sub(b"[\1-\37]", lambda mark: marks[mark[0][0]], stored)


def hash_event(hasher, event):  # [R 7.4]
    hasher.update(push_blob(event.name.encode()) + bytes([event.flags]) + push_blob(event.version.encode()))
    hasher.update(event.digest or b"")
    if event.text is not None:
        hasher.update(push_blob(event.text))


def read_manifests(segments, root):  # [R 7.2] [R 7.4] [R 7.11]
    """Every crate's events by key, without texts; the chain of hashes checked."""
    crates, parent = {}, ZEROS
    for segment in segments:
        chain = transactions(segment)
        by_generation = {one["generation"]: one for one in chain}
        for event in crate_events(segment):
            one = by_generation.get(event.generation)
            need(one, f"{segment.what}: an event of {event.name} belongs to no transaction")
            hash_event(one["hasher"], event)
            one["seen"] += 1
            crates.setdefault(key_of(event.name), []).append(event._replace(text=None))
        for one in chain:
            intact = one["parent"] == parent and one["hasher"].digest() == one["hash"]
            intact = intact and one["seen"] == one["event_count"]
            need(intact, f"{segment.what}: the hash chain breaks at snapshot {one['generation']}")
            parent = one["hash"]
    need(parent == root, "manifest: the head's root hash is not that of the newest transaction")
    return crates


def key_of(name):
    return "".join("_" if c == "-" else c.lower() if c.isascii() else c for c in name)


SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


def is_version(text):  # [R 7.14]
    match = SEMVER.fullmatch(text) if len(text) <= 255 else None
    return match and all(int(match[i]) < 2**64 for i in (1, 2, 3))


def fold(history):  # [R 7.13] to [R 7.18]
    """A crate's name and its releases, in the order they were first seen."""
    history = sorted(history, key=lambda event: event.generation)
    releases = {}
    for event in history:
        kind, version, digest = kind_of(event.flags), event.version, event.digest
        if kind == ETAG or digest is None or not is_version(version):
            continue
        if kind == REPLACED:
            for other in releases.values():
                if other["version"] == version and other["digest"] != digest:
                    other["replaced"] = True
        blank = {"version": version, "digest": digest}
        blank.update(yanked=False, removed=False, replaced=False, purged=False)
        release = releases.setdefault((version, digest), blank)
        if kind in (PURGED, ADDED):
            release["purged"] = kind == PURGED
        if kind in (REMOVED, RESTORED):
            release["removed"] = kind == REMOVED
        if kind == REPLACED:
            release["replaced"] = False
        if kind <= RESTORED:
            release["yanked"] = bool(event.flags & 0x40)
    return history[-1].name, list(releases.values())


# ---- Section 8: engines ------------------------------------------------------


def crate_file(meta, content):  # [R 8.2] to [R 8.5]
    """The exact crate file, its SHA-256 checked; or Impossible."""
    engine, digest = meta["engine"], meta["digest"]
    content = undo_transform(meta, content)
    if engine == 0:
        data = content
    elif engine in (2, 3):
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9 if engine == 2 else 8)
        file_name = f"{meta['name']}-{meta['version']}.crate\0".encode()
        header = bytes([0x1F, 0x8B, 8, 8, 0, 0, 0, 0, 2, meta["gzip_os"]]) + file_name
        trailer = struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)
        header = header if meta["gzip_header"] is None else meta["gzip_header"]
        trailer = trailer if meta["gzip_trailer"] is None else meta["gzip_trailer"]
        data = header + deflate.compress(content) + deflate.flush() + trailer
    else:
        name = ENGINES.get(engine, "unknown")
        raise Impossible(f"made by engine {engine} ({name}), which Python cannot redo; only its tar (--tar)")
    if hashlib.sha256(data).digest() == digest:
        return data
    if engine == 0 or zlib_is_the_real_one():
        raise Damage("the crate file came out with another SHA-256")
    raise Impossible(
        f"this Python's zlib ({zlib.ZLIB_RUNTIME_VERSION}) is not the C zlib that engine {engine} asks for"
        " (zlib-ng?), its bytes differ; only its tar (--tar)"
    )


@functools.lru_cache()
def zlib_is_the_real_one():
    """Whether Python's zlib gives the spec's vector prose(1, 300000) of engine 3. [R 8.6]"""
    words = ["fn ", "let ", "self.", "(x)", "\n    ", "mut ", "pub ", "struct ", "impl ", "->", "0x1f", ";"]
    x, prose = 1, bytearray()
    while len(prose) < 300_000:
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        prose += words[(x >> 33) % 12].encode()
        if x >> 60 == 0:
            prose += str(x >> 20).encode()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 8)
    found = hashlib.sha256(deflate.compress(prose[:300_000]) + deflate.flush()).hexdigest()
    return found == "d6dfe8b7c35230fcb7a564e229b0f31ed0baf68a987acfe5aa643cc6bea70985"


def tar_of(meta, content):
    if meta["engine"] != 0:
        return undo_transform(meta, content)
    inflate, limit = zlib.decompressobj(31), max(512 << 20, 20 * len(content))  # [R 11.4]
    try:
        tar = inflate.decompress(content, limit)
    except zlib.error as error:
        raise Impossible(f"stored as it came, and it is not gzip: {error}") from None
    if not inflate.eof:
        raise Impossible("stored as it came, and its gzip stream is cut short or too large")
    return tar


# ---- Section 17: the normal form of a tar --------------------------------------


def undo_transform(meta, content):
    return normal_form_tar(content) if meta["transform"] == 1 else content


def normal_form_tar(content):  # [R 17.2]
    what = "normal form of a tar"
    cursor = Cursor(content, what)
    end, columns = cursor.uint(), [Cursor(cursor.blob(), what) for _ in range(3)]
    paths, sizes, changes = columns
    body_sizes = []
    while not sizes.done():
        body_sizes.append(sizes.uint())
    at = cursor.at
    need(sum(body_sizes) == len(content) - at, f"{what}: sizes add up to {sum(body_sizes)}, not {len(content) - at}")
    total = sum(512 + size + -size % 512 for size in body_sizes) + end
    need(total <= min(64 * len(content) + 2**20, 2**32 - 1), f"{what}: a tar of {total} bytes is too long for it")  # [R 17.8]
    parts, path, template = [], b"", bytearray(512)
    unchanged = None if changes.done() else changes.uint()
    for size in body_sizes:
        if unchanged == 0:  # [R 17.4]
            for _ in range(changes.uint()):
                offset, patch = changes.uint(), changes.blob()
                need(offset + len(patch) <= 512, f"{what}: {len(patch)} bytes at {offset} are not within a header")
                template[offset : offset + len(patch)] = patch
            unchanged = None if changes.done() else changes.uint()
        elif unchanged is not None:
            unchanged -= 1
        shared, stop = paths.uint(), paths.data.find(b"\0", paths.at)
        need(stop >= 0 and shared <= len(path), f"{what}: a path at byte {paths.at} cannot be")
        path = path[:shared] + paths.take(stop - paths.at)
        need(len(path) <= 100, f"{what}: a path of {len(path)} bytes")
        paths.take(1)
        parts += [header_of(template, path, size, what), content[at : at + size], bytes(-size % 512)]
        at += size
    paths.end()
    need(unchanged is None, f"{what}: changes of more members than there are")  # [R 17.6]
    return b"".join(parts + [bytes(end)])


def header_of(template, path, size, what):  # [R 17.5]
    header = bytearray(template)
    header[: len(path)] = path
    put_octal(header, 124, 136, size, what)
    put_octal(header, 148, 156, sum(header) - sum(header[148:156]) + 8 * 32, what)
    return bytes(header)


def put_octal(header, start, end, value, what):
    room = (end - start) - len(header[start:end].lstrip(b"0"))
    if room:
        digits = b"%0*o" % (room, value)
        need(len(digits) == room, f"{what}: no room for {value} in {room} digits")
        header[start : start + room] = digits


# ---- The archive as a whole --------------------------------------------------


def read_file(folder, name):
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return file.read()
    except OSError as error:
        raise Damage(f"{name}: {error.strerror}") from None


class Archive:
    """The newest snapshot that can be opened; `problems` says what was passed over."""

    def __init__(self, folder):  # [R 4.7]
        self.folder, self.problems, self.contents = folder, [], {}
        names = [name for name in ("head0", "head1") if os.path.exists(os.path.join(folder, name))]
        if not names:
            raise Impossible("not a cratehold archive (no head0 or head1 file)")
        heads = []
        for name in names:
            try:
                heads.append((decode_head(read_file(folder, name), name), name))
            except Damage as damage:
                self.problems.append(str(damage))
        heads.sort(key=lambda pair: -pair[0]["generation"])
        for head, name in heads:
            try:
                self.open_snapshot(head)
                break
            except Damage as damage:
                self.problems.append(str(damage))
        else:
            raise Damage("; ".join(["neither head can be used"] + self.problems))
        if len(heads) == 2 and heads[0][0] is head:  # the older head must be the newer one's parent
            if head["generation"] != heads[1][0]["generation"] + 1 or head["previous_head"] != heads[1][0]["sha256"]:
                self.problems.append(f"{name}: its previous_head is not the other head")
        if len(names) == 1 and head["generation"] > 0:
            missing = {"head0": "head1", "head1": "head0"}[names[0]]
            self.problems.append(f"{missing}: missing, so one more damage would lose the archive's newest state")

    def open_snapshot(self, head):
        for pack in head["packs"]:
            name = f"packs/{pack['pack']:08}.pak"  # [R 2.1]
            try:
                length = os.path.getsize(os.path.join(self.folder, name))
            except OSError as error:
                raise Damage(f"{name}: {error.strerror}") from None
            need(length >= pack["bytes"], f"{name}: {length} bytes, expected at least {pack['bytes']}")
        self.head, self.entries = head, {}
        for one in head["indexes"]:
            name = f"index/{one['generation']:08}.idx"
            segment = Segment(read_file(self.folder, name), b"CRHINDX1", one, name)
            self.entries.update(index_entries(segment))  # the newest decides [R 6.8]
        names = [(one, f"manifest/{one['generation']:08}.man") for one in head["manifests"]]
        segments = [Segment(read_file(self.folder, name), b"CRHMANI1", one, name) for one, name in names]
        histories = read_manifests(segments, head["root"])
        self.crates = [fold(history) for _, history in sorted(histories.items())]

    def find(self, digest):  # [R 6.6]
        entry = self.entries.get(digest)
        return entry if entry and entry.kind != 3 else None

    def record(self, entry):  # [R 5.3] [R 6.10]
        """Metadata and frame at an entry's place."""
        name = f"packs/{entry.pack:08}.pak"
        what = f"{name} at {entry.offset}"
        committed = {pack["pack"]: pack["bytes"] for pack in self.head["packs"]}.get(entry.pack, 0)
        need(entry.offset + entry.bytes <= committed, f"{what}: the record is not within the pack")
        try:
            with open(os.path.join(self.folder, name), "rb") as file:
                file.seek(entry.offset)
                data = file.read(entry.bytes)
        except OSError as error:
            raise Damage(f"{what}: {error.strerror}") from None
        meta, end = decode_metadata(data, what)
        need(meta["digest"] == entry.digest, f"{what}: the record there is of {meta['digest'].hex()}")
        return meta, data[end:], what

    def content(self, entry):  # [R 5.8]
        """Metadata and content of an object, decoded along its chain."""
        chain, base = [self.record(entry)], None
        while chain[-1][0]["base"] is not None:
            digest = chain[-1][0]["base"]
            if digest in self.contents:
                base = self.contents[digest]
                break
            below = self.find(digest)
            need(below, f"{chain[-1][2]}: its base {digest.hex()} is not held")
            need(len(chain) < MAX_CHAIN_FRAMES, f"{chain[0][2]}: its chain has more than {MAX_CHAIN_FRAMES} frames")
            chain.append(self.record(below))
        for meta, frame, what in reversed(chain):
            base = decode_frame(meta, frame, base, what)
        self.remember(entry.digest, base)
        return meta, base

    def remember(self, digest, content):
        """Bases lie close before what needs them, so a few recent contents save much."""
        self.contents[digest] = content
        while len(self.contents) > 1 and sum(map(len, self.contents.values())) > CACHE_BYTES:
            del self.contents[next(iter(self.contents))]


# ---- Commands ----------------------------------------------------------------


def complain(message):
    print(f"reader.py: {message}", file=sys.stderr)
    return 1


def command_list(archive):
    marks = ("yanked", "removed", "replaced", "purged")
    for name, releases in archive.crates:
        for release in releases:
            set_marks = [mark for mark in marks if release[mark]]
            if not archive.find(release["digest"]):
                set_marks.append("not-held")
            print("  ".join([f"{name}@{release['version']}", release["digest"].hex()] + set_marks))
    return max([0] + [complain(problem) for problem in archive.problems])


def command_verify(archive):
    problems, exact, tars = list(archive.problems), 0, 0
    for pack in archive.head["packs"]:
        name = f"packs/{pack['pack']:08}.pak"
        try:
            with open(os.path.join(archive.folder, name), "rb") as file:
                decode_pack_header(file.read(PAGE), name)
        except (Damage, OSError) as damage:
            problems.append(str(damage))
    for extra in archive.head["extras"]:
        try:
            parts = extra["path"].split("/")
            need(not {"", ".", ".."} & set(parts) and extra["path"].isprintable(), "an extra's path leaves the archive")
            found = hashlib.sha256(read_file(archive.folder, extra["path"])).digest()
            need(found == extra["sha256"], f"{extra['path']}: SHA-256 is not the one in the head")
        except Damage as damage:
            problems.append(str(damage))
    labels = {one["digest"]: f"{name}@{one['version']}" for name, releases in archive.crates for one in releases}
    for entry in sorted(archive.entries.values(), key=lambda entry: (entry.pack, entry.offset)):
        if entry.kind == 3:
            continue
        label = labels.get(entry.digest, entry.digest.hex())
        try:
            meta, content = archive.content(entry)
            tars += 1
            if meta["kind"] == 2:
                need(hashlib.sha256(content).digest() == meta["digest"], "the seed has another SHA-256")
            else:
                crate_file(meta, content)
            exact += 1
        except Impossible:
            pass  # its tar has been checked; the .crate needs an engine that Python lacks
        except Damage as damage:
            problems.append(f"{label}: {damage}")
    print(f"root {archive.head['root'].hex()}")
    print(f"snapshot {archive.head['generation']}: {tars} objects decoded and their checksums right,")
    print(f"{exact} of them by SHA-256 (the .crate files of other engines are beyond Python); {len(problems)} problems")
    if not zlib_is_the_real_one():
        print(f"this Python's zlib ({zlib.ZLIB_RUNTIME_VERSION}) is not the C zlib, so engines 2 and 3 are among those")
    return max([0] + [complain(problem) for problem in problems])


def command_extract(archive, wanted, path, as_tar):
    for problem in archive.problems:
        complain(f"warning: {problem}")
    name, at, version = wanted.partition("@")
    if not at or not name or not version:
        complain(f"`{wanted}`: expected NAME@VERSION")
        return 2
    known = [crate for crate in archive.crates if key_of(crate[0]) == key_of(name)]
    held = [one for _, releases in known for one in releases if one["version"] == version]
    held = [one for one in held if archive.find(one["digest"])]
    current = [one for one in held if not one["removed"] and not one["replaced"]]
    if not held:
        return complain(f"{wanted}: not held in this archive; `list` shows what is")
    release = (current or held)[-1]  # [R 7.20]
    try:
        meta, content = archive.content(archive.find(release["digest"]))
        data = tar_of(meta, content) if as_tar else crate_file(meta, content)
    except (Damage, Impossible) as error:
        return complain(f"{wanted}: {error}")
    with open(path, "wb") as file:
        file.write(data)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (("list", "every release"), ("verify", "check everything"), ("extract", "one crate")):
        commands.add_parser(command, help=text).add_argument("archive", help="the archive's folder")
    extract = commands.choices["extract"]
    extract.add_argument("release", metavar="NAME@VERSION")
    extract.add_argument("-o", dest="path", required=True, metavar="FILE", help="where to write it")
    extract.add_argument("--tar", action="store_true", help="the tar inside, not the .crate file")
    arguments = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    try:
        archive = Archive(arguments.archive)
        if arguments.command == "list":
            return command_list(archive)
        if arguments.command == "verify":
            return command_verify(archive)
        return command_extract(archive, arguments.release, arguments.path, arguments.tar)
    except (Damage, Impossible, OSError, MemoryError) as error:
        return complain(f"{arguments.archive}: {error or 'not enough memory'}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)
