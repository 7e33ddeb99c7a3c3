"""The verifier in JavaScript says of every bundle what the one in Python says: the same verdict, or refusal."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from hashlib import sha256

import pytest

from medchain.encoding import canonical
from tests.deck import CASES, Made, deck
from tests.verifier import IS_THERE, judged, pack, told
from tests.zips import changed, of_two_minds, zipped

FLIPS = 60

pytestmark = pytest.mark.skipif(not IS_THERE, reason="needs Node.js")


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, Made]:
    """Make the deck."""
    return dict(deck(tmp_path_factory.mktemp("deck")))


def compared(folder, bundles: Mapping[str, tuple[Mapping[str, bytes], str, int]]) -> list[tuple[str, object, object]]:
    """Have both judge bundles; returns name and both answers where they differ."""
    asked = [
        (pack(folder / f"{at}.zip", files), policy, now) for at, (files, policy, now) in enumerate(bundles.values())
    ]
    rows = zip(bundles, judged(folder, asked), bundles.values(), strict=True)
    return [(name, found, expected) for name, found, one in rows if alike(found) != alike(expected := said(one))]


def said(bundle: tuple[Mapping[str, bytes], str, int]) -> dict[str, object]:
    """Say what the node's verifier says."""
    files, policy, now = bundle
    return told(files, policy, now=now)


def alike(found: Mapping[str, object]) -> dict[str, object]:
    """Leave out what of a spelling is wrong: a number that is not whole is none of JavaScript's."""
    is_spelling = str(found.get("code")).startswith(("encoding.", "tlog.map_json"))
    return {**found, "code": "spelling"} if is_spelling else dict(found)


def test_both_say_the_same_of_the_whole_deck(tmp_path, cases):
    bundles = {name: (made.files, made.policy, made.now) for name, made in cases.items()}
    assert compared(tmp_path, bundles) == []
    # There is something of each sort, or nothing was compared.
    sorts = [(bool(made.refused), bool(made.red), bool(made.amber)) for made in cases.values()]
    assert {(True, False, False), (False, True, False), (False, False, True), (False, False, False)} <= set(sorts)
    assert len(bundles) == len(CASES)


def test_both_say_the_same_wherever_a_bit_is_flipped(tmp_path, cases):
    made, bundles = cases["genuine_claim"], {}
    names = sorted(name for name in made.files if name != "policy.txt")
    for number in range(FLIPS):
        # Places as they fall, and the same each time.
        drawn = int.from_bytes(sha256(b"%d" % number).digest()[:8], "big")
        name = names[drawn % len(names)]
        changed = bytearray(made.files[name])
        changed[drawn // 997 % len(changed)] ^= 1 << drawn % 8
        bundles[f"{number} {name}"] = ({**made.files, name: bytes(changed)}, made.policy, made.now)
    assert compared(tmp_path, bundles) == []


def test_attack_documents_that_readers_could_take_for_others_are_refused_by_both(tmp_path, cases):
    """Names twice or of JavaScript's own, numbers beyond its own, lone surrogates, byte order marks, deep nesting."""
    made = cases["genuine_claim"]
    evidence = made.files["evidence.json"]
    claim = json.loads(evidence)
    own = [canonical({**claim, name: {"claim": {}}}) for name in ("__proto__", "constructor", "toString")]
    twice = b'{"claim":{},' + evidence[1:]
    numbers = [
        evidence.replace(b'"version":1', b'"version":' + one) for one in (b"1.0", b"1e0", b"-0", b"9007199254740993")
    ]
    texts = [
        evidence.replace(b'"insurer":"', b'"insurer":"' + one, 1) for one in (b"\\ud800", b"\\u0041", b"\xff", b"\0")
    ]
    deep = b'{"claim":' + b"[" * 5000 + b"]" * 5000 + b"}"
    others = [b"", b"null", b"[]", b"1", b"\xef\xbb\xbf" + evidence, evidence + b"\n", b" " + evidence, deep, twice]
    documents = [*own, *numbers, *texts, *others]
    bundles = {
        f"{name} {number}": ({**made.files, name: document}, made.policy, made.now)
        for name in ("evidence.json", "askers.json", "items/0/map.json")
        for number, document in enumerate(documents)
    }
    assert [name for name, one in bundles.items() if "code" not in said(one)] == []
    assert compared(tmp_path, bundles) == []


def test_attack_a_document_of_a_million_arrays_is_refused_before_it_is_parsed(tmp_path, cases):
    """Each costs some hundred times its two bytes, in the browser of whoever is handed the bundle."""
    made = cases["genuine_claim"]
    arrays, text = b"[" + b"[]," * 999_999 + b"[]]", canonical("[{" * 500_001)
    bundles = {
        name: ({**made.files, "evidence.json": document}, made.policy, made.now)
        for name, document in (("arrays", arrays), ("text", text))
    }
    asked = [(pack(tmp_path / f"{name}.zip", one[0]), *one[1:]) for name, one in bundles.items()]
    refused = {"code": "encoding.too_many", "refused": False}
    assert judged(tmp_path, asked) == [said(one) for one in bundles.values()] == [refused, refused]


def test_attack_a_type_that_every_object_of_javascript_has_opens_nothing(tmp_path, cases):
    """Looked up in an object, `constructor` is found, and calls what is in the document what is registered."""
    made = cases["genuine_claim"]
    name = next(name for name in sorted(made.files) if name.endswith("/opening.json"))
    said_of = json.loads(made.files[name])
    types = ("constructor", "toString", "__proto__", "hasOwnProperty", "valueOf")
    forged = {
        f"{kind} {number}": canonical({**said_of, "type": kind} if number else {"content": "", "type": kind})
        for kind in types
        for number in (0, 1)
    }
    bundles = {kind: ({**made.files, name: document}, made.policy, made.now) for kind, document in forged.items()}
    assert [kind for kind, one in bundles.items() if "code" not in said(one)] == []
    assert compared(tmp_path, bundles) == []


def test_attack_names_that_join_to_others_are_other_names(tmp_path, cases):
    made = cases["genuine_claim"]
    evidence = json.loads(made.files["evidence.json"])
    question = {"answer,hospital,signed,state": None}
    joined = canonical({**evidence, "question": question})
    bundles = {"question": ({**made.files, "evidence.json": joined}, made.policy, made.now)}
    assert said(bundles["question"]) == {"code": "encoding.members", "refused": False}
    assert compared(tmp_path, bundles) == []


def test_attack_zips_that_unpack_to_too_much_or_to_two_things_are_no_bundles(tmp_path, cases):
    made = cases["genuine_claim"]

    def changed(name: str, change) -> object:
        path = pack(tmp_path / f"{name}.zip", made.files)
        change(path)
        return path

    def bomb(path) -> None:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("evidence.json2", bytes(65 << 20))

    def many(path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(4097):
                archive.writestr(f"items/{number}/map.json", b"")

    def twice(path) -> None:
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("evidence.json", b"{}")

    def link(path) -> None:
        item = zipfile.ZipInfo("genesis.json")
        item.external_attr = 0o120777 << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(item, "/etc/passwd")

    def less(path) -> None:
        """Say of a file that it is smaller than it is, which a reader could believe and go on beyond."""
        content = bytearray(path.read_bytes())
        at = content.rfind(b"PK\1\2")
        content[at + 24 : at + 28] = (10).to_bytes(4, "little")
        path.write_bytes(content)

    def cut(path) -> None:
        path.write_bytes(path.read_bytes()[:-40])

    def broken(path) -> None:
        content = bytearray(path.read_bytes())
        content[200] ^= 1
        path.write_bytes(content)

    changes = {"bomb": bomb, "broken": broken, "cut": cut, "less": less, "link": link, "many": many, "twice": twice}
    paths = [changed(name, change) for name, change in changes.items()]
    found = judged(tmp_path, [(path, made.policy, made.now) for path in paths])
    codes = [
        "bundle.size",
        "bundle.format",
        "bundle.format",
        "bundle.format",
        "bundle.link",
        "bundle.files",
        "bundle.twice",
    ]
    assert found == [{"code": code, "refused": False} for code in codes]


def test_attack_zips_that_show_each_reader_another_bundle_are_no_bundles(tmp_path, cases):
    """An insurer hands over one file, of which the page says green, and the command red."""
    green, red = cases["genuine_claim"], cases["altered_after_the_claim"]
    zips = {**changed(zipped(red.files)), "both": of_two_minds(green.files, red.files)}
    paths = []
    for number, packed in enumerate(zips.values()):
        paths.append(tmp_path / f"{number}.zip")
        paths[-1].write_bytes(packed)
    found = judged(tmp_path, [(path, red.policy, red.now) for path in paths])
    assert found == [{"code": "bundle.format", "refused": False}] * len(zips)
