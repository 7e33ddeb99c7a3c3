package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// logReport says what was checked of a log.
type logReport struct {
	Checkpoint signed   `json:"checkpoint"`
	Entries    int64    `json:"entries"`
	Tiles      int      `json:"tiles"`
	Old        *int64   `json:"old"`
	Headers    []header `json:"headers"`
}

// header is how one kind of resource was served.
type header struct {
	Path         string `json:"path"`
	ContentType  string `json:"content_type"`
	CacheControl string `json:"cache_control"`
}

// checkMirror checks a folder laid out by C2SP tlog-tiles.
func checkMirror(trusted policy, folder, old string) (any, error) {
	files, err := torchwood.NewTileFS(os.DirFS(folder))
	if err != nil {
		return nil, err
	}
	return checkLog(trusted, files, old)
}

// checkServed checks a log that is served by HTTP.
func checkServed(trusted policy, url, old string) (any, error) {
	seen := &recorder{headers: map[string]header{}}
	client := &http.Client{Transport: seen, Timeout: 10 * time.Second}
	fetcher, err := torchwood.NewTileFetcher(url, torchwood.WithHTTPClient(client), torchwood.WithConcurrencyLimit(4))
	if err != nil {
		return nil, err
	}
	report, err := checkLog(trusted, fetcher, old)
	if err != nil {
		return nil, err
	}
	for _, found := range seen.headers {
		report.Headers = append(report.Headers, found)
	}
	return report, nil
}

// checkLog reads all that a log of this size has: each entry authenticated by torchwood, each tile by x/mod.
func checkLog(trusted policy, source torchwood.TileReader, old string) (*logReport, error) {
	ctx := context.Background()
	checkpoint, err := source.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return nil, err
	}
	verified, err := trusted.verify(checkpoint)
	if err != nil {
		return nil, err
	}
	report := &logReport{Checkpoint: verified, Headers: []header{}}
	tree := verified.tree
	client, err := torchwood.NewClient(source)
	if err != nil {
		return nil, err
	}
	for index, entry := range client.AllEntries(ctx, tree, 0) {
		if index != report.Entries || len(entry) == 0 {
			return nil, fmt.Errorf("entries: torchwood gave %d after %d", index, report.Entries)
		}
		report.Entries++
	}
	if err := client.Err(); err != nil {
		return nil, fmt.Errorf("entries: torchwood: %w", err)
	}
	if report.Entries != tree.N {
		return nil, fmt.Errorf("entries: %d of %d", report.Entries, tree.N)
	}
	reader := torchwood.TileHashReaderWithContext(ctx, tree, source)
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil || root != tree.Hash {
		return nil, fmt.Errorf("root: x/mod: %w", errors.Join(err, errors.New("the tiles have another")))
	}
	if report.Tiles, err = checkTiles(ctx, tree, source, reader); err != nil {
		return nil, err
	}
	report.Old, err = checkOld(trusted, tree, reader, old)
	return report, err
}

// checkTiles compares each tile of the tree with the hashes that x/mod authenticates against the root.
func checkTiles(ctx context.Context, tree tlog.Tree, source torchwood.TileReader, reader tlog.HashReader) (int, error) {
	count := 0
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, tree.N) {
		served, err := source.ReadTiles(ctx, []tlog.Tile{tile})
		if err != nil {
			return 0, err
		}
		authentic, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return 0, fmt.Errorf("tile: x/mod: %w", err)
		}
		if !bytes.Equal(served[0], authentic) {
			return 0, fmt.Errorf("tile: %s is another", torchwood.TilePath(tile))
		}
		count++
	}
	return count, nil
}

// checkOld proves and checks, with x/mod, that the log extends an earlier checkpoint.
func checkOld(trusted policy, tree tlog.Tree, reader tlog.HashReader, old string) (*int64, error) {
	if old == "" {
		return nil, nil
	}
	text, err := os.ReadFile(old)
	if err != nil {
		return nil, err
	}
	before, err := trusted.verify(text)
	if err != nil {
		return nil, fmt.Errorf("old: %w", err)
	}
	var hashes tlog.TreeProof
	if before.Size < tree.N {
		if hashes, err = tlog.ProveTree(tree.N, before.Size, reader); err != nil {
			return nil, fmt.Errorf("old: x/mod: %w", err)
		}
	}
	if err := tlog.CheckTree(hashes, tree.N, tree.Hash, before.Size, before.tree.Hash); err != nil {
		return nil, fmt.Errorf("old: x/mod: %w", err)
	}
	return &before.Size, nil
}

// recorder sends the authorization with each request, and keeps the headers of each path.
type recorder struct {
	lock    sync.Mutex
	headers map[string]header
}

// RoundTrip makes a request.
func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", os.Getenv("INTEROP_AUTHORIZATION"))
	response, err := http.DefaultTransport.RoundTrip(request)
	if err == nil {
		r.lock.Lock()
		defer r.lock.Unlock()
		r.headers[request.URL.Path] = header{
			request.URL.Path, response.Header.Get("Content-Type"), response.Header.Get("Cache-Control"),
		}
	}
	return response, err
}
