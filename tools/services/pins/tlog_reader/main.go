// Reads a log as others do: the checkpoint by golang.org/x/mod's notes, tiles and entries by torchwood, a client of
// C2SP's tlog-tiles. Our code has no part in it.
//
//	tlog_reader URL VKEY   prints {"origin": …, "size": …, "entries": "<SHA-256 of all, each behind its length>"}
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("usage: tlog_reader URL VKEY"))
	}
	if err := read(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fail(err)
	}
}

func read(ctx context.Context, url, vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("vkey: %w", err)
	}
	fetcher, err := torchwood.NewTileFetcher(url)
	if err != nil {
		return err
	}
	signed, err := fetcher.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	checkpoint, err := torchwood.ParseCheckpoint(opened.Text)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if checkpoint.Origin != verifier.Name() {
		return fmt.Errorf("checkpoint: of %q, and the key is of %q", checkpoint.Origin, verifier.Name())
	}
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		return err
	}
	all, next := sha256.New(), int64(0)
	for next < checkpoint.N { // a partial tile at the end is read by asking again
		before := next
		for index, entry := range client.Entries(ctx, checkpoint.Tree, next) {
			if index != next {
				return fmt.Errorf("entry %d came as %d", next, index)
			}
			binary.Write(all, binary.BigEndian, uint16(len(entry)))
			all.Write(entry)
			next++
		}
		if err := client.Err(); err != nil {
			return fmt.Errorf("entries: %w", err)
		}
		if next == before {
			return fmt.Errorf("entries: none at %d", next)
		}
	}
	if err := prove(ctx, client, checkpoint.Tree); err != nil {
		return err
	}
	said := map[string]any{
		"origin": checkpoint.Origin, "size": next, "entries": hex.EncodeToString(all.Sum(nil)),
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

// prove asks for the inclusion of the first, the middle and the last entry, and checks it by x/mod's tlog.
func prove(ctx context.Context, client *torchwood.Client, tree tlog.Tree) error {
	for _, index := range []int64{0, tree.N / 2, tree.N - 1} {
		entry, proof, err := client.Entry(ctx, tree, index)
		if err != nil {
			return fmt.Errorf("proof of %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
			return fmt.Errorf("proof of %d: %w", index, err)
		}
	}
	return nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
