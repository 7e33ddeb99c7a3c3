package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// policy is a trusted policy: as torchwood reads it, once for each log, and its log keys as x/mod reads them. C2SP
// tlog-policy accepts the line of any of its logs; torchwood v0.10.0 demands those of all.
type policy struct {
	each []torchwood.Policy
	logs note.Verifiers
	rows [][]string
}

// signer is a cosigner whose line verified.
type signer struct {
	Name string `json:"name"`
	Time int64  `json:"time"`
}

// signed is a checkpoint that satisfied a policy.
type signed struct {
	Origin  string   `json:"origin"`
	Size    int64    `json:"size"`
	Signers []signer `json:"signers"`
	Unknown []string `json:"unknown"`
	tree    tlog.Tree
}

// readPolicy reads a C2SP tlog-policy. x/mod must take its log keys, too.
func readPolicy(path string) (policy, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return policy{}, err
	}
	var logs, rest []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "log" {
			logs = append(logs, line)
		} else {
			rest = append(rest, line)
		}
	}
	found := policy{rows: words(string(text))}
	var verifiers []note.Verifier
	for _, line := range logs {
		verifier, err := note.NewVerifier(strings.Fields(line)[1])
		if err != nil {
			return policy{}, fmt.Errorf("policy: log key: %w", err)
		}
		parsed, err := torchwood.ParsePolicy([]byte(line + strings.Join(rest, "")))
		if err != nil {
			return policy{}, fmt.Errorf("policy: %w", err)
		}
		verifiers, found.each = append(verifiers, verifier), append(found.each, parsed)
	}
	if len(logs) == 0 {
		return policy{}, errors.New("policy: no log")
	}
	found.logs = note.VerifierList(verifiers...)
	return found, nil
}

// words reads the words of a policy's lines, but for comments.
func words(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		row := strings.FieldsFunc(line, func(one rune) bool { return one == ' ' || one == '\t' || one == '\n' })
		if len(row) > 0 && !strings.HasPrefix(row[0], "#") {
			rows = append(rows, row)
		}
	}
	return rows
}

// lineage is the name of the group that is the quorum of a set of members (docs/spec/genesis.md 6).
var lineage = regexp.MustCompile(`^consortium@[0-9a-f]{64}$`)

// members writes the policy of the members alone, out of one that may ask for more: what the ends of their blocks name
// (docs/spec/proof-bundle.md 3). The policy is one that torchwood has read: a group stands behind its members.
func (p policy) members() (string, error) {
	var quorums []string
	for _, row := range p.rows {
		if row[0] == "group" && lineage.MatchString(row[1]) {
			quorums = append(quorums, row[1])
		}
	}
	if len(quorums) != 1 {
		return "", errors.New("policy: it names no members")
	}
	parts := map[string]bool{quorums[0]: true}
	for _, row := range slices.Backward(p.rows) {
		if row[0] == "group" && parts[row[1]] {
			for _, name := range row[3:] {
				parts[name] = true
			}
		}
	}
	var logs, others []string
	for _, row := range p.rows {
		switch {
		case row[0] == "log":
			logs = append(logs, strings.Join(row[:2], " "))
		case row[0] == "witness" && parts[row[1]]:
			others = append(others, strings.Join(row[:3], " "))
		case row[0] == "group" && parts[row[1]]:
			others = append(others, strings.Join(row, " "))
		}
	}
	lines := slices.Concat(logs, others, []string{"quorum " + quorums[0]})
	return strings.Join(lines, "\n") + "\n", nil
}

// any tells whether a check holds under the policy with one of its logs; if not, why not under the last.
func (p policy) any(check func(torchwood.Policy) error) (err error) {
	for _, one := range p.each {
		if err = check(one); err == nil {
			return nil
		}
	}
	return err
}

// verify checks a checkpoint twice: the log's own line with x/mod alone, everything with torchwood.
func (p policy) verify(checkpoint []byte) (signed, error) {
	opened, err := note.Open(checkpoint, p.logs)
	if err != nil {
		return signed{}, fmt.Errorf("checkpoint: x/mod: %w", err)
	}
	var parsed torchwood.Checkpoint
	var all *note.Note
	if err := p.any(func(one torchwood.Policy) (err error) {
		parsed, all, err = torchwood.VerifyCheckpoint(checkpoint, one)
		return err
	}); err != nil {
		return signed{}, fmt.Errorf("checkpoint: torchwood: %w", err)
	}
	if parsed.Extension != "" || opened.Text != all.Text {
		return signed{}, fmt.Errorf("checkpoint: extension lines")
	}
	found := signed{Origin: parsed.Origin, Size: parsed.N, tree: parsed.Tree, Signers: []signer{}, Unknown: []string{}}
	for _, line := range all.Sigs {
		if line.Name == parsed.Origin {
			continue
		}
		time, err := torchwood.CosignatureTimestamp(line)
		if err != nil {
			return signed{}, err
		}
		found.Signers = append(found.Signers, signer{line.Name, time})
	}
	for _, line := range all.UnverifiedSigs {
		found.Unknown = append(found.Unknown, line.Name)
	}
	return found, nil
}

// checkSigners tells who signed a checkpoint.
func checkSigners(trusted policy, path string) (any, error) {
	checkpoint, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return trusted.verify(checkpoint)
}

// proof is a c2sp.org/tlog-proof@v1, taken apart; torchwood keeps the parts to itself.
type proof struct {
	index      int64
	hashes     []tlog.Hash
	checkpoint []byte
}

// parseProof takes a proof apart after torchwood has verified it.
func parseProof(text string) (proof, error) {
	head, checkpoint, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) > 1 && strings.HasPrefix(lines[1], "extra ") {
		lines = lines[1:]
	}
	if !found || len(lines) < 2 {
		return proof{}, fmt.Errorf("tlog-proof: form")
	}
	parsed := proof{checkpoint: []byte(checkpoint)}
	if _, err := fmt.Sscanf(lines[1], "index %d", &parsed.index); err != nil {
		return proof{}, fmt.Errorf("tlog-proof: %w", err)
	}
	hashes, err := parseHashes(lines[2:])
	parsed.hashes = hashes
	return parsed, err
}

// parseHashes reads lines of base64.
func parseHashes(lines []string) ([]tlog.Hash, error) {
	hashes := []tlog.Hash{}
	for _, line := range lines {
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			return nil, fmt.Errorf("hash line %q", line)
		}
		hashes = append(hashes, tlog.Hash(raw))
	}
	return hashes, nil
}
