package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/torchwood"
	"filippo.io/torchwood/prefix"
	"golang.org/x/mod/sumdb/tlog"
)

// included is a leaf under a checkpoint.
type included struct {
	Index      int64  `json:"index"`
	Checkpoint signed `json:"checkpoint"`
}

// bundleReport says what was checked of a bundle; what it has no file for is null.
type bundleReport struct {
	Entry       included   `json:"entry"`
	State       *included  `json:"state"`
	Policy      *string    `json:"policy"`
	Map         *string    `json:"map"`
	Record      *string    `json:"record"`
	Block       *blockTime `json:"block"`
	Consistency *int64     `json:"consistency"`
}

// blockTime is when the entry was accepted, by the end of its block.
type blockTime struct {
	End  int64 `json:"end"`
	Time int64 `json:"time"`
}

// blockEnd is the state leaf that ends a block, as in block.json.
type blockEnd struct {
	Hashes   [][]byte `json:"hashes"`
	Leaf     []byte   `json:"leaf"`
	Position int64    `json:"position"`
}

// checkBundle checks a bundle's files under a trusted policy.
func checkBundle(trusted policy, folder string) (any, error) {
	var report bundleReport
	entry, err := checkIncluded(trusted, folder, "entry")
	if err != nil {
		return nil, err
	}
	report.Entry = *entry
	if state, err := checkIncluded(trusted, folder, "state"); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, err
		}
		report.State = state
		if _, err := os.Stat(filepath.Join(folder, "map.json")); !errors.Is(err, fs.ErrNotExist) {
			if err := checkState(folder, &report); err != nil {
				return nil, err
			}
		}
		if err := checkEnd(*entry, *state); err != nil {
			return nil, err
		}
		if report.Policy, err = namedPolicy(trusted, folder); err != nil {
			return nil, err
		}
	}
	if report.Block, err = checkBlock(folder, *entry); err != nil {
		return nil, err
	}
	report.Consistency, err = checkGrowth(trusted, folder)
	return report, err
}

// checkIncluded checks NAME.bin and NAME.tlog-proof: with torchwood whole, and step by step with x/mod.
func checkIncluded(trusted policy, folder, name string) (*included, error) {
	leaf, err := os.ReadFile(filepath.Join(folder, name+".bin"))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(folder, name+".tlog-proof"))
	if err != nil {
		return nil, err
	}
	if err := trusted.any(func(one torchwood.Policy) error {
		return torchwood.VerifyProof(one, tlog.RecordHash(leaf), text)
	}); err != nil {
		return nil, fmt.Errorf("%s: torchwood: %w", name, err)
	}
	parsed, err := parseProof(string(text))
	if err != nil {
		return nil, err
	}
	checkpoint, err := trusted.verify(parsed.checkpoint)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	tree := checkpoint.tree
	if err := tlog.CheckRecord(parsed.hashes, tree.N, tree.Hash, parsed.index, tlog.RecordHash(leaf)); err != nil {
		return nil, fmt.Errorf("%s: x/mod: %w", name, err)
	}
	return &included{parsed.index, checkpoint}, nil
}

// mapFile is map.json.
type mapFile struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
	Proof []struct {
		Bits  uint32 `json:"bits"`
		Label string `json:"label"`
		Hash  string `json:"hash"`
	} `json:"proof"`
}

// checkState checks map.json against the map root in state.bin, and record.json against map.json.
func checkState(folder string, report *bundleReport) error {
	var state struct {
		MapRoot string `json:"map_root"`
	}
	var proven mapFile
	if err := errors.Join(readJSON(folder, "state.bin", &state, false), readJSON(folder, "map.json", &proven, true)); err != nil {
		return err
	}
	root, err1 := unhex(state.MapRoot)
	key, err2 := unhex(proven.Key)
	nodes, err3 := proofNodes(proven)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	if proven.Value == nil {
		answer := "absent"
		report.Map = &answer
		if err := prefix.VerifyNonMembershipProof(sha256.Sum256, key, nodes, root); err != nil {
			return fmt.Errorf("map.json: torchwood: %w", err)
		}
		return checkBound(folder, nodes[0])
	}
	answer := "member"
	report.Map = &answer
	value, err := unhex(*proven.Value)
	if err != nil {
		return err
	}
	if err := prefix.VerifyMembershipProof(sha256.Sum256, key, value, nodes, root); err != nil {
		return fmt.Errorf("map.json: torchwood: %w", err)
	}
	record, err := os.ReadFile(filepath.Join(folder, "record.json"))
	if err != nil {
		return err
	}
	if sha256.Sum256(record) != value {
		return fmt.Errorf("record.json: its hash is not the map's value")
	}
	report.Record = proven.Value
	return nil
}

// checkEnd checks that the state leaf ends the tree of the entry (docs/spec/proof-bundle.md 3).
func checkEnd(entry, state included) error {
	ours, theirs := entry.Checkpoint.tree, state.Checkpoint.tree
	if ours != theirs || state.Index != theirs.N-1 {
		return errors.New("state: it does not end the tree of the entry")
	}
	return nil
}

// checkBlock checks the ends of the entry's block and of the one before (docs/spec/proof-bundle.md 13). In a bundle of
// several objects the entry is the end of the tree; place.json tells of which entry block.json is then.
func checkBlock(folder string, entry included) (*blockTime, error) {
	var block struct {
		After  blockEnd  `json:"after"`
		Before *blockEnd `json:"before"`
		Type   string    `json:"type"`
	}
	if err := readJSON(folder, "block.json", &block, true); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	place := struct {
		Position int64 `json:"position"`
	}{entry.Index}
	if err := readJSON(folder, "place.json", &place, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	after, when, err := checkBlockEnd(block.After, entry.Checkpoint.tree)
	if err != nil {
		return nil, err
	}
	before, first := int64(-1), int64(-1)
	if block.Before != nil {
		if before, _, err = checkBlockEnd(*block.Before, entry.Checkpoint.tree); err != nil {
			return nil, err
		}
		first = block.Before.Position
	}
	if block.Type != "medchain/block/v1" || after != before+1 || place.Position <= first || place.Position >= block.After.Position {
		return nil, errors.New("block.json: not the ends of the entry's block")
	}
	return &blockTime{block.After.Position, when}, nil
}

// checkBlockEnd checks that a tree holds the end of a block; returns its height and time.
func checkBlockEnd(end blockEnd, tree tlog.Tree) (int64, int64, error) {
	var hashes tlog.RecordProof
	for _, raw := range end.Hashes {
		if len(raw) != tlog.HashSize {
			return 0, 0, errors.New("block.json: a hash of another size")
		}
		hashes = append(hashes, tlog.Hash(raw))
	}
	if err := tlog.CheckRecord(hashes, tree.N, tree.Hash, end.Position, tlog.RecordHash(end.Leaf)); err != nil {
		return 0, 0, fmt.Errorf("block.json: x/mod: %w", err)
	}
	var state struct {
		Height *int64 `json:"height"`
		Time   *int64 `json:"time"`
		Type   string `json:"type"`
	}
	if err := json.Unmarshal(end.Leaf, &state); err != nil {
		return 0, 0, fmt.Errorf("block.json: %w", err)
	}
	if state.Type != "medchain/state/v2" || state.Height == nil || state.Time == nil {
		return 0, 0, errors.New("block.json: no end of a block")
	}
	return *state.Height, *state.Time, nil
}

// namedPolicy reads what state.bin names the policy in force by, which must be the members of the trusted one.
func namedPolicy(trusted policy, folder string) (*string, error) {
	var state struct {
		Height  *int64 `json:"height"`
		MapRoot string `json:"map_root"`
		Policy  string `json:"policy"`
		Time    *int64 `json:"time"`
		Type    string `json:"type"`
	}
	if err := readJSON(folder, "state.bin", &state, true); err != nil {
		return nil, err
	}
	if _, err := unhex(state.Policy); err != nil || state.Type != "medchain/state/v2" {
		return nil, fmt.Errorf("state.bin: names no policy")
	}
	members, err := trusted.members()
	if err != nil {
		return nil, err
	}
	if name := sha256.Sum256([]byte(members)); state.Policy != hex.EncodeToString(name[:]) {
		return nil, fmt.Errorf("state.bin: names other members than the policy's")
	}
	return &state.Policy, nil
}

// checkBound checks that a proof of absence binds its first node (docs/spec/log.md 16): torchwood knows no such rule,
// and takes any label beside a right hash.
func checkBound(folder string, first prefix.ProofNode) error {
	if first.Label == prefix.EmptyNodeLabel {
		return nil
	}
	var absence struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	if err := readJSON(folder, "absence.json", &absence, true); err != nil {
		return err
	}
	value, err := unhex(absence.Value)
	if err != nil {
		return err
	}
	label := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, first.Label.BitLen()), first.Label.Bytes()...))
	if absence.Type != "medchain/absence/v1" || sha256.Sum256(append(value[:], label[:]...)) != first.Hash {
		return fmt.Errorf("absence.json: the first node's label is not bound")
	}
	return nil
}

// proofNodes turns the nodes of map.json into torchwood's.
func proofNodes(file mapFile) ([]prefix.ProofNode, error) {
	nodes := []prefix.ProofNode{}
	for _, row := range file.Proof {
		raw, err1 := unhex(row.Label)
		hash, err2 := unhex(row.Hash)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		label := prefix.EmptyNodeLabel
		if raw != [32]byte(label.Bytes()) || row.Bits != label.BitLen() {
			made, err := prefix.NewLabel(row.Bits, raw[:])
			if err != nil {
				return nil, fmt.Errorf("map.json: torchwood: %w", err)
			}
			label = made
		}
		nodes = append(nodes, prefix.ProofNode{Label: label, Hash: hash})
	}
	return nodes, nil
}

// checkGrowth checks consistency.txt, a tlog-witness add-checkpoint body, against checkpoint-old.
func checkGrowth(trusted policy, folder string) (*int64, error) {
	text, err := os.ReadFile(filepath.Join(folder, "consistency.txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	earlier, err2 := os.ReadFile(filepath.Join(folder, "checkpoint-old"))
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	head, checkpoint, _ := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	hashes, err := parseHashes(lines[1:])
	if err != nil {
		return nil, err
	}
	before, err1 := trusted.verify(earlier)
	after, err2 := trusted.verify([]byte(checkpoint))
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if lines[0] != fmt.Sprintf("old %d", before.Size) {
		return nil, fmt.Errorf("consistency.txt: %q is not the size of checkpoint-old", lines[0])
	}
	if err := tlog.CheckTree(hashes, after.Size, after.tree.Hash, before.Size, before.tree.Hash); err != nil {
		return nil, fmt.Errorf("consistency.txt: x/mod: %w", err)
	}
	return &before.Size, nil
}

// readJSON reads a document of a bundle.
func readJSON(folder, name string, into any, strict bool) error {
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if strict {
		decoder.DisallowUnknownFields()
	}
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// unhex reads 32 bytes.
func unhex(text string) ([32]byte, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 32 {
		return [32]byte{}, fmt.Errorf("not 32 bytes of hexadecimal: %q", text)
	}
	return [32]byte(raw), nil
}
