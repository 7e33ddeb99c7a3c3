"""The primitives of verify.html, over vectors of others: they accept what the ledger accepts, and nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from medchain.crypto.es384 import Es384Signer, es384_verify
from medchain.crypto.signing import ed25519_verify
from medchain.crypto.vrf import VrfKey, vrf_output
from medchain.web.pages import read_asset
from tests.unit.medchain.crypto.test_vrf import OTHERS, RFC9381
from tests.verifier import IS_THERE

VECTORS = Path(__file__).parents[3] / "vectors"
HARNESS = """import { primitives } from "./proof.mjs";
import { readFileSync } from "node:fs";
const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const shown = (found) => (typeof found === "boolean" ? found : Buffer.from(found).toString("hex"));
const told = JSON.parse(readFileSync("asked.json", "utf8")).map(([name, ...given]) => {
  try { return shown(primitives[name](...given.map(bytes))); }
  catch (error) { return error.code ?? String(error.stack); }
});
console.log(JSON.stringify(told));
"""
ALPHA = b"medchain/test/v1"

pytestmark = pytest.mark.skipif(not IS_THERE, reason="needs Node.js")


def told(folder: Path, rows: Iterable[tuple[str | bytes, ...]]) -> list[bool | str]:
    """Have the script judge: name of a function, and what it is given."""
    (folder / "proof.mjs").write_bytes(read_asset("consent.web", "proof.js").content)
    (folder / "harness.mjs").write_text(HARNESS)
    asked = [[one.hex() if isinstance(one, bytes) else one for one in row] for row in rows]
    (folder / "asked.json").write_text(json.dumps(asked))
    words = ["node", "harness.mjs"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def document(name: str):
    return json.loads((VECTORS / name).read_text("utf-8"))


def test_ed25519_accepts_exactly_what_wycheproof_calls_valid(tmp_path):
    groups = document("wycheproof/ed25519_test.json")["testGroups"]
    cases = [(group["publicKey"]["pk"], test) for group in groups for test in group["tests"]]
    found = told(tmp_path, (("ed25519Verify", key, test["msg"], test["sig"]) for key, test in cases))
    assert found == [test["result"] == "valid" for _, test in cases]
    assert len(found) == 151


def test_ed25519_judges_edge_cases_as_the_ledger_does(tmp_path):
    """C2SP CCTV: mixed points, small orders, forms that are not canonical. Another opinion would be a fork."""
    rows = [(case["key"], case["msg"].encode().hex(), case["sig"]) for case in document("cctv/ed25519vectors.json")]
    expected = [ed25519_verify(*map(bytes.fromhex, row)) for row in rows]
    assert told(tmp_path, (("ed25519Verify", *row) for row in rows)) == expected
    assert (len(rows), 0 < sum(expected) < len(rows)) == (914, True)


def test_mldsa44_accepts_exactly_what_wycheproof_calls_valid(tmp_path):
    groups = document("wycheproof/mldsa_44_verify_test.json")["testGroups"]
    cases = [(group["publicKey"], test) for group in groups for test in group["tests"]]
    rows = (("mldsa44Verify", key, test["msg"], test["sig"], test.get("ctx", "")) for key, test in cases)
    found = told(tmp_path, rows)
    assert found == [test["result"] == "valid" for _, test in cases]
    assert len(found) == 28


def test_es384_accepts_the_signature_of_the_message_and_no_changed_one(tmp_path):
    signer = Es384Signer(b"s" * 32)
    signature = signer.sign(b"message")
    zero, high = bytes(48), b"\xff" * 48
    changed = [
        signature[:-1] + bytes([signature[-1] ^ 1]),
        zero + signature[48:],
        signature[:48] + zero,
        high + signature[48:],
        signature[:48] + high,
        signature + b"\0",
        b"",
    ]
    keys = [b"\x02" + signer.public[1:49], signer.public[:-1] + bytes([signer.public[-1] ^ 1]), bytes(97), b""]
    rows = [(signer.public, b"message", one) for one in (signature, *changed)]
    rows += [(signer.public, b"other", signature), *((key, b"message", signature) for key in keys)]
    expected = [es384_verify(*row) for row in rows]
    assert expected == [True] + [False] * (len(rows) - 1)
    assert told(tmp_path, (("es384Verify", *row) for row in rows)) == expected


def test_the_verifiable_random_function_gives_the_outputs_of_rfc_9381(tmp_path):
    rows = [("vrfVerify", public, alpha, pi) for _, public, alpha, _, pi, _ in RFC9381]
    seed, alpha, pi, beta = OTHERS
    rows.append(("vrfVerify", VrfKey(bytes.fromhex(seed)).public.hex(), alpha, pi))
    assert told(tmp_path, rows) == [*(one[5] for one in RFC9381), beta]


def test_a_proof_that_was_changed_or_a_key_outside_of_the_group_is_refused(tmp_path):
    key = VrfKey(bytes(range(32)))
    proof = key.prove(ALPHA)
    flips = [proof[:at] + bytes([proof[at] ^ 4]) + proof[at + 1 :] for at in range(0, 80, 7)]
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = (int.from_bytes(proof[48:], "little") + order).to_bytes(32, "little")
    proofs = [*flips, proof[:48] + scalar, proof[:-1], proof + b"\0", b"", bytes(80)]
    small = [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b""]
    rows = [("vrfVerify", key.public, ALPHA, one) for one in (proof, *proofs)]
    rows += [("vrfVerify", key.public, b"other", proof), *(("vrfVerify", one, ALPHA, proof) for one in small)]
    found = told(tmp_path, rows)
    assert found == [vrf_output(proof).hex(), *["vrf.proof"] * (len(proofs) + 1), *["vrf.key"] * len(small)]
