"""Policies as nobody writes them, and some as somebody may: for two readers of C2SP tlog-policy that must agree."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.tlog.note import KeyType, VerifierKey
from medchain.tlog.policy import MAX_POLICY_BYTES

ED, PQ, LOG = KeyType.COSIGNATURE_ED25519, KeyType.COSIGNATURE_MLDSA44, KeyType.ED25519
PLACES: Final = 400
"""So many texts differ from the right one in a letter or two, somewhere."""


def vkey(name: str, kind: KeyType, letter: bytes) -> str:
    """Write a key that one letter makes."""
    make = MlDsa44Signer if kind == PQ else Ed25519Signer
    return str(VerifierKey(name, kind, make(letter * 32).public))


KEYS: Final = {
    "ed": vkey("o.example", ED, b"a"),
    "free": vkey("v.example", ED, b"v"),
    "group": f"consortium@{'07' * 32}",
    "log": vkey("log.example/x", LOG, b"l"),
    "more": vkey("m.example", ED, b"m"),
    "other": vkey("log.example/x", LOG, b"o"),
    "pq": vkey("p.example", PQ, b"p"),
    "renamed": vkey("log.example/y", LOG, b"l"),
    "second": f"consortium@{'08' * 32}",
    "upper": f"consortium@{'0A' * 32}",
}
RIGHT: Final = """\
log {log}
witness a {ed}
witness b {pq}
witness c {more} https://w.example
witness 见证 {free}
group org all a b
group {group} 1 org
group both 2 {group} 见证
quorum both
""".format_map(KEYS)
ODD_LINES: Final = """\

\x20
\t#
# quorum none
#quorum none
quorum
quorum none
quorum a b
quorum d
quorums both
QUORUM both
log {other}
log {other} https://log.example
log {other} a b
log {other} #
log
log x
log {ed}
log {pq}
log {log}
log {renamed}
witness d {log}
witness d {ed}
witness d {pq}
witness d
witness
witness a {other}
group
group d
group d 1
group d any
group d all
group d 1 c
group d any c
group d all c
group d all c b
group d 2 c
group d 0 c
group d -1 c
group d 01 c
group d +1 c
group d 1.0 c
group d 1e0 c
group d ANY c
group d \u0661 c
group d 99999 c
group d 100000 c
group d 1 c c
group d 1 a
group d 1 d
group d 1 none
group d 1 both
group d toString c
group a 1 c
group none 1 c
group #d 1 c
group d 1 #c
group {second} 1 c
group {upper} 1 c
group {group} 1 c
group consortium 1 c
\u00a0log x
log\u00a0x
\ufeff
\ufefflog {other}
group d 1 c\r
group d 1 c\x0b
\x7f
\x00""".format_map(KEYS).split("\n")


def hashed(name: str, typed: bytes) -> str:
    """Write a key under a name that may be none, with the id that it would have."""
    return f"{name}+{sha256(name.encode() + bytes([10]) + typed).digest()[:4].hex()}+{b64encode(typed).decode()}"


def odd_keys() -> Iterator[str]:
    """List a witness's key in right and wrong spellings."""
    right = vkey("k.example", ED, b"k")
    name, key_id, encoded = right.split("+", 2)
    typed = b64decode(encoded)
    yield from (right, vkey("k.example", PQ, b"k"), vkey("k" * 255, ED, b"k"))
    for other in (
        "k\u0085",
        "k\u2003",
        "k\u2028",
        "k\u3000",
        "k\ufeff",
        "k" * 256,
        "é" * 127,
        "é" * 128,
        "k+k",
        "",
        "#k",
    ):
        yield hashed(other, typed)
    for other in (b"", typed[:1], typed[:-1], typed + b"x", b"\1" + typed[1:], b"\5" + typed[1:], b"\6" + typed[1:]):
        yield hashed(name, other)
    for other in ("", "00000000", key_id.upper(), key_id[:-1], f"{key_id}0"):
        yield f"{name}+{other}+{encoded}"
    for other in (
        "",
        "!",
        f"{encoded}=",
        f"{encoded}====",
        f"={encoded}",
        encoded.rstrip("="),
        encoded[:4] + "=" + encoded[4:],
        encoded.replace("+", "-").replace("/", "_"),
        encoded[:-2] + chr(ord(encoded[-2]) + 1) + encoded[-1],
    ):
        yield f"{name}+{key_id}+{other}"
    yield from ("k", "k+", "+", "++", "k++", f"{name}+{encoded}")


def odd_policies() -> list[str]:
    """List policies: one that is right, its lines gone and elsewhere, odd lines and keys in it, and odd texts."""
    lines = RIGHT.splitlines(keepends=True)
    found = ["", "\n", RIGHT, RIGHT[:-1], RIGHT * 2, "\n\n" + RIGHT + "\n", RIGHT.replace("\n", "\r\n")]
    found += [RIGHT.replace(" ", " \t "), RIGHT.replace(" ", "\u3000"), RIGHT.replace(KEYS["group"], "members")]
    room = MAX_POLICY_BYTES - len(RIGHT.encode()) - 2
    found += [f"#{'x' * size}\n{RIGHT}" for size in (room, room + 1)]
    for at, line in enumerate(lines):
        rest = [*lines[:at], *lines[at + 1 :]]
        found += ["".join(rest), *("".join([*rest[:to], line, *rest[to:]]) for to in range(len(lines)))]
    body, end = "".join(lines[:-1]), lines[-1]
    for line in ODD_LINES:
        found += [f"{line}\n{RIGHT}", f"{body}{line}\n{end}", f"{RIGHT}{line}\n"]
    found += [f"{body}witness k {key}\n{end}" for key in odd_keys()]
    found += [f"{body}witness {name} {KEYS['other']}\n{end}" for name in ("d", "#d")]
    found += [f"{body}witness {row}\n{end}" for row in (f"none {vkey('n', ED, b'n')}", f"k {vkey('n', ED, b'n')} u v")]
    for number in range(PLACES):
        chance = sha256(b"%d" % number).digest()
        at = int.from_bytes(chance[:4], "big") % len(RIGHT)
        letter = "\n\t #+=01aAb\u3000é"[chance[4] % 13]
        found.append(RIGHT[:at] + letter + RIGHT[at + chance[5] % 2 :])
    return found
