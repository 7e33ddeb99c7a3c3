// Command interop checks what MedChain exports with other people's code: golang.org/x/mod/sumdb/{note,tlog} and
// filippo.io/torchwood. Nothing here was written after MedChain's own verifier; formats are C2SP's, but for the two
// files map.json and absence.json, whose rules stand in docs/spec/log.md.
//
//	interop bundle POLICY DIR            a proof bundle, under a trusted policy
//	interop mirror POLICY DIR [OLD]      a mirrored log: every tile and entry, and that it extends checkpoint OLD
//	interop served POLICY URL [OLD]      the same over HTTP; $INTEROP_AUTHORIZATION goes with each request
//	interop signers POLICY CHECKPOINT    who signed a checkpoint; the policy may name outside witnesses
//	interop agent SOCKET                 an ssh-agent with a new Ed25519 key, until standard input ends
//
// Exit status 0: accepted, and standard output says what was checked. 1: refused, and standard error says why. 2: wrong
// call.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// errUsage marks a call that names no check.
var errUsage = errors.New("usage: interop bundle|mirror|served|signers|agent ARGUMENTS")

func main() {
	report, err := run(os.Args[1:])
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// run does one check and returns what it found.
func run(words []string) (any, error) {
	old := ""
	if len(words) == 4 && (words[0] == "mirror" || words[0] == "served") {
		old, words = words[3], words[:3]
	}
	if len(words) == 2 && words[0] == "agent" {
		return nil, serveAgent(words[1])
	}
	if len(words) != 3 {
		return nil, errUsage
	}
	policy, err := readPolicy(words[1])
	if err != nil {
		return nil, err
	}
	switch words[0] {
	case "bundle":
		return checkBundle(policy, words[2])
	case "mirror":
		return checkMirror(policy, words[2], old)
	case "served":
		return checkServed(policy, words[2], old)
	case "signers":
		return checkSigners(policy, words[2])
	}
	return nil, errUsage
}
