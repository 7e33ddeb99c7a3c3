"""Policies: what C2SP tlog-policy allows and forbids, and whose signatures count."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from medchain.crypto.signing import Ed25519Signer, MlDsa44Signer
from medchain.errors import InputError, VerificationError
from medchain.tlog.checkpoint import Checkpoint, cosign, sign_checkpoint
from medchain.tlog.note import KeyType, Note, Signature, VerifierKey, parse_note
from medchain.tlog.policy import Group, Log, Policy, Witness

HEAD = Checkpoint("log.example/x", 5, bytes(range(32)))
LOG = Ed25519Signer(b"l" * 32)
OTHER_LOG = Ed25519Signer(b"m" * 32)
SIGNERS = {"a": Ed25519Signer(b"a" * 32), "b": Ed25519Signer(b"b" * 32), "c": MlDsa44Signer(b"c" * 32)}
NOW = 1_800_000_000


def vkey(name, kind, public):
    return str(VerifierKey(name, kind, public))


LOG_LINE = "log " + vkey(HEAD.origin, KeyType.ED25519, LOG.public)
OTHER_LOG_LINE = "log " + vkey(HEAD.origin, KeyType.ED25519, OTHER_LOG.public)
WITNESSES = {
    name: f"witness {name} "
    + vkey(
        f"{name}.example",
        KeyType.COSIGNATURE_ED25519 if isinstance(signer, Ed25519Signer) else KeyType.COSIGNATURE_MLDSA44,
        signer.public,
    )
    for name, signer in SIGNERS.items()
}


def policy(*lines: str):
    return Policy.parse("".join(line + "\n" for line in (LOG_LINE, *WITNESSES.values(), *lines)).encode())


def signed(names, time=NOW, signer=LOG):
    cosignatures = [cosign(HEAD, f"{name}.example", SIGNERS[name], time) for name in names]
    return sign_checkpoint(HEAD, signer).add(cosignatures)


TWO_OF_THREE = policy("group g 2 a b c", "quorum g")


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint-old", "checkpoint-fork"])
def test_the_vector_checkpoints_satisfy_their_policy(vectors, name):
    verified = vectors.policy().check(vectors.read(name))
    assert verified.checkpoint.size == (517 if name == "checkpoint-old" else 1034)
    assert verified.log_key in vectors.policy().log_keys
    assert len(verified.cosigners) >= 6


def test_the_vector_policy_is_written_without_its_comments(vectors):
    lines = vectors.read("policy.txt").decode().splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.startswith("#") and line.strip())
    assert vectors.policy().to_bytes().decode() == kept


def test_a_quorum_counts_and_tells_who_signed_when():
    verified = TWO_OF_THREE.check(signed("ac").to_bytes())
    assert (verified.checkpoint, verified.log_key.public) == (HEAD, LOG.public)
    assert verified.cosigners == {"a": NOW, "c": NOW}


@pytest.mark.parametrize("names", ["", "a", "b", "c"])
def test_less_than_the_quorum_is_refused(names):
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        TWO_OF_THREE.check(signed(names).to_bytes())


def test_one_witness_that_signs_twice_counts_once_with_its_latest_time():
    twice = Note(HEAD.text(), (*signed("a", NOW + 5).signatures, *signed("a", NOW).signatures[1:]))
    assert len(twice.signatures) == 3
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        TWO_OF_THREE.check(twice.to_bytes())
    assert policy("quorum a").check(twice.to_bytes()).cosigners == {"a": NOW + 5}


def test_a_checkpoint_without_the_logs_line_is_refused():
    note = signed("abc")
    with pytest.raises(VerificationError, match=r"tlog\.log_signature"):
        TWO_OF_THREE.check(replace(note, signatures=note.signatures[1:]).to_bytes())
    with pytest.raises(VerificationError, match=r"tlog\.log_signature"):
        TWO_OF_THREE.check(signed("abc", signer=OTHER_LOG).to_bytes())


def test_the_line_of_any_of_several_logs_counts():
    either = Policy.parse((LOG_LINE + "\n" + OTHER_LOG_LINE + "\nquorum none\n").encode())
    assert either.check(signed("", signer=OTHER_LOG).to_bytes()).log_key.public == OTHER_LOG.public
    both = signed("", signer=OTHER_LOG).merge(signed(""))
    assert either.check(both.to_bytes()).log_key.public == LOG.public


def test_the_line_of_a_log_of_another_origin_does_not_count():
    line = "log " + vkey("log.example/y", KeyType.ED25519, LOG.public)
    with pytest.raises(VerificationError, match=r"tlog\.log_signature"):
        Policy.parse((line + "\nquorum none\n").encode()).check(signed("").to_bytes())


def test_an_unknown_signature_is_ignored():
    unknown = [Signature("a.example", b"1234", bytes(72)), Signature("z.example", b"1234", b"x")]
    assert TWO_OF_THREE.check(signed("ab").add(unknown).to_bytes()).cosigners == {"a": NOW, "b": NOW}


@pytest.mark.parametrize(("at", "code"), [(0, "tlog.signature"), (1, "tlog.cosignature"), (3, "tlog.cosignature")])
def test_a_false_signature_of_a_known_key_spoils_the_note(at, code):
    signatures = list(signed("abc").signatures)
    signatures[at] = replace(signatures[at], data=signatures[at].data[:-1] + bytes([signatures[at].data[-1] ^ 1]))
    with pytest.raises(VerificationError, match=code):
        TWO_OF_THREE.check(Note(HEAD.text(), tuple(signatures)).to_bytes())


def test_a_false_second_signature_of_a_known_key_spoils_the_note():
    good = signed("abc").signatures
    false = replace(good[1], data=bytes(72))
    with pytest.raises(VerificationError, match=r"tlog\.cosignature"):
        TWO_OF_THREE.check(Note(HEAD.text(), (*good, false)).to_bytes())


@pytest.mark.parametrize(
    ("time", "counts"),
    [
        (NOW, True),
        (NOW - 300, True),
        (NOW - 301, False),
        (NOW + 60, True),
        (NOW + 61, False),
    ],
)
def test_only_young_cosignatures_count_where_age_matters(time, counts):
    note = signed("ab", time).to_bytes()
    if counts:
        assert TWO_OF_THREE.check(note, now=NOW, max_age_s=300).cosigners == {"a": time, "b": time}
    else:
        with pytest.raises(VerificationError, match=r"tlog\.quorum"):
            TWO_OF_THREE.check(note, now=NOW, max_age_s=300)
    assert TWO_OF_THREE.check(note).cosigners == {"a": time, "b": time}


def test_an_old_cosignature_does_not_count_beside_a_young_one():
    mixed = signed("a", NOW - 1000).merge(signed("bc", NOW))
    assert TWO_OF_THREE.check(mixed.to_bytes(), now=NOW, max_age_s=300).cosigners == {"b": NOW, "c": NOW}


def test_a_cosignature_without_a_time_is_never_young():
    head, name = HEAD, "c.example"
    message = b"subtree/v1\n\0" + bytes([9]) + name.encode() + bytes(8) + b"\x0dlog.example/x" + bytes(15) + b"\x05"
    signature = SIGNERS["c"].sign(message + head.root)
    key = VerifierKey(name, KeyType.COSIGNATURE_MLDSA44, SIGNERS["c"].public)
    note = signed("").add([Signature(name, key.key_id, bytes(8) + signature)]).to_bytes()
    assert policy("quorum c").check(note).cosigners == {"c": 0}
    with pytest.raises(VerificationError, match=r"tlog\.quorum"):
        policy("quorum c").check(note, now=100, max_age_s=300)


@pytest.mark.parametrize("times", [{"now": NOW}, {"max_age_s": 5}])
def test_one_time_without_the_other_is_refused(times):
    with pytest.raises(InputError, match=r"tlog\.policy_time"):
        TWO_OF_THREE.check(signed("ab").to_bytes(), **times)


def test_a_note_that_is_no_checkpoint_is_refused():
    note = Note("no checkpoint\n", signed("ab").signatures)
    with pytest.raises(InputError, match=r"tlog\.checkpoint"):
        TWO_OF_THREE.check(note.to_bytes())


@pytest.mark.parametrize(
    ("lines", "enough", "short"),
    [
        (["group g any a b c", "quorum g"], ["a", "b", "c", "abc"], [""]),
        (["group g all a b c", "quorum g"], ["abc"], ["", "ab", "bc", "ac"]),
        (["group g 2 a b c", "quorum g"], ["ab", "bc", "ac", "abc"], ["", "a"]),
        (["group g all a b", "group h any g c", "quorum h"], ["ab", "c"], ["", "a", "b"]),
        (["group g any a b", "group h all g c", "quorum h"], ["ac", "bc"], ["ab", "c"]),
        (["quorum b"], ["b", "ab"], ["", "ac"]),
        (["quorum none"], [""], []),
    ],
)
def test_groups_and_quorum(lines, enough, short):
    parsed = policy(*lines)
    assert [parsed.is_quorum(set(names)) for names in enough] == [True] * len(enough)
    assert [parsed.is_quorum(set(names)) for names in short] == [False] * len(short)


def test_the_name_of_a_group_is_no_witness():
    assert not policy("group g all a b", "quorum g").is_quorum({"g"})


def test_lines_may_come_in_another_order_with_white_space_comments_and_urls():
    text = f"# c\n\n  \t\n{WITNESSES['a']} https://a.example/\n \tquorum\t a \n #d\n{LOG_LINE}\t https://l/#1\n{WITNESSES['b']}\n"
    parsed = Policy.parse(text.encode())
    assert (parsed.logs[0].url, parsed.witnesses[0].url, parsed.witnesses[1].url) == (
        "https://l/#1",
        "https://a.example/",
        None,
    )
    expected = f"{LOG_LINE} https://l/#1\n{WITNESSES['a']} https://a.example/\n{WITNESSES['b']}\nquorum a\n"
    assert parsed.to_bytes().decode() == expected
    assert Policy.parse(parsed.to_bytes()) == parsed


def test_names_are_opaque_bytes():
    data = (
        f"{LOG_LINE}\n{WITNESSES['a']}\nquorum a\n".encode()
        .replace(b" a ", b" \xff\xe4 ")
        .replace(b"quorum a", b"quorum \xff\xe4")
    )
    assert Policy.parse(data).to_bytes() == data


BAD_NAME = "log " + vkey(HEAD.origin, KeyType.COSIGNATURE_ED25519, LOG.public)
A_AGAIN = "witness z " + vkey("z.example", KeyType.COSIGNATURE_ED25519, SIGNERS["a"].public)
LOG_AS_WITNESS = "witness z " + vkey("z.example", KeyType.ED25519, b"z" * 32)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["quorum a", "quorum a"],
        ["quorum z"],
        ["quorum"],
        ["quorum a b"],
        ["quorum g", "group g any a"],
        ["group g any z", "quorum none"],
        ["group g any g", "quorum none"],
        ["group g any", "quorum none"],
        ["group g", "quorum none"],
        ["group g 0 a", "quorum none"],
        ["group g 2 a", "quorum none"],
        ["group g 01 a", "quorum none"],
        ["group g some a", "quorum none"],
        ["group g -1 a", "quorum none"],
        ["group g \N{ARABIC-INDIC DIGIT ONE} a", "quorum none"],
        ["group g any a a", "quorum none"],
        ["group g any a", "group h any a", "quorum none"],
        ["group a any b", "quorum none"],
        ["group none any b", "quorum none"],
        ["group g any none", "quorum none"],
        [WITNESSES["a"], "quorum none"],
        [A_AGAIN, "quorum none"],
        [LOG_AS_WITNESS, "quorum none"],
        [LOG_LINE, "quorum none"],
        [BAD_NAME, "quorum none"],
        [LOG_LINE + " u v", "quorum none"],
        ["log", "quorum none"],
        ["witness z", "quorum none"],
        ["unknown a", "quorum none"],
        ["quorum none # no comment here"],
        ["quorum none\r"],
        ["quorum none\x00"],
        ["quorum none\x7f"],
        ["quorum none", "#" + "x" * 2**20],
    ],
)
def test_a_malformed_policy_is_refused(lines):
    with pytest.raises(InputError, match=r"tlog\.policy"):
        policy(*lines)


def test_a_policy_without_its_last_newline_is_refused():
    with pytest.raises(InputError, match=r"tlog\.policy"):
        Policy.parse(f"{LOG_LINE}\nquorum none".encode())


def test_a_policy_without_a_log_is_refused():
    with pytest.raises(InputError, match=r"tlog\.policy"):
        Policy.parse(f"{WITNESSES['a']}\nquorum a\n".encode())


def test_a_malformed_key_in_a_policy_is_refused():
    with pytest.raises(InputError, match=r"tlog\.key"):
        policy(LOG_LINE[:-8], "quorum none")
    with pytest.raises(InputError, match=r"tlog\.key_name"):
        Policy.parse(b"log \xff+00000000+" + base64.b64encode(b"\x01" + bytes(32)) + b"\nquorum none\n")


def log_entry(url=None):
    return Log(VerifierKey(HEAD.origin, KeyType.ED25519, LOG.public), url)


@pytest.mark.parametrize(
    ("components", "url"),
    [
        ((Group("two words", "any", ()),), None),
        ((Group("#g", "any", ()),), None),
        ((Group("", "any", ()),), None),
        ((Group("g", "any", ()),), None),
        ((), "two words"),
        ((), "line\nbreak"),
    ],
)
def test_a_policy_that_cannot_be_written_is_refused(components, url):
    with pytest.raises(InputError, match=r"tlog\.policy"):
        Policy((log_entry(url=url),), components, "none")


def test_two_keys_of_the_same_name_and_id_are_refused():
    # Key ids are short: two keys of one name that share one can be made on purpose, and their lines not be told apart.
    first = VerifierKey("w", KeyType.COSIGNATURE_ED25519, bytes(32))
    second = VerifierKey("w", KeyType.COSIGNATURE_ED25519, bytes(31) + b"\x01")
    object.__setattr__(second, "key_id", first.key_id)
    with pytest.raises(InputError, match=r"tlog\.policy"):
        Policy((log_entry(),), (Witness("a", first), Witness("b", second)), "none")


def test_a_cosignature_line_beyond_the_quorum_may_be_renamed_without_harm():
    renamed = signed("abc").to_bytes().replace(b"b.example", b"y.example")
    assert TWO_OF_THREE.check(renamed).cosigners == {"a": NOW, "c": NOW}
    assert parse_note(renamed).text == HEAD.text()


def test_a_policy_with_an_unknown_quorum_is_refused():
    with pytest.raises(InputError, match=r"tlog\.policy"):
        Policy((log_entry(),), (), "z")
