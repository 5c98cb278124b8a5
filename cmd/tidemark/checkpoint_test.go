package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/checkpointing/storage/s3"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// typed returns a store of a set.
func typed[S any](t *testing.T, set *store.Set, name string) S {
	t.Helper()
	s, ok := set.Store(name)
	require.True(t, ok)
	of, ok := s.(S)
	require.True(t, ok)
	return of
}

// fill stores two checkpoints and a savepoint of an application with one task and two stores.
func fill(t *testing.T, s storage.Storage, key []byte) {
	t.Helper()
	specs := []store.Spec{
		store.KeyValueSpec("counts", serde.String, serde.Int64),
		store.WindowSpec("per-minute", serde.String, serde.String, store.WindowConfig{
			Retention: time.Hour, Grid: time.Minute,
		}),
	}
	set, err := store.OpenSet(t.Context(), store.SetConfig{Dir: t.TempDir(), Specs: specs, TrackChanges: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, set.Close(false)) }()
	counts := typed[*store.KeyValue[string, int64]](t, set, "counts")
	windows := typed[*store.Window[string, string]](t, set, "per-minute")
	e, err := checkpointing.NewExporter(checkpointing.ExporterConfig{
		Config: checkpointing.Config{Storage: s, EncryptionKey: key}.WithDefaults(), Clock: clock.System(),
	})
	require.NoError(t, err)
	defer e.Close()
	for id := int64(1); id <= 3; id++ {
		require.NoError(t, counts.PutWithTimestamp("alice", id, 1000+id))
		require.NoError(t, counts.PutWithTimestamp(fmt.Sprintf("b\x00b%d", id), 7, 1))
		require.NoError(t, windows.PutWithTimestamp("w", `{"n":1}`, id*60_000, id*60_000))
		require.NoError(t, set.Seal(record.Epoch(id), func(string) *record.Batch { return &record.Batch{} }))
		require.NoError(t, set.Commit(store.Checkpoint{Epoch: record.Epoch(id), WallTimeMs: 5}))
		snapshot, err := set.Snapshot()
		require.NoError(t, err)
		tr := checkpointing.Trigger{
			ID: id, Base: id - 1, Incremental: true, Location: checkpointing.CheckpointFolder("orders", id), TimeoutMs: 60_000,
			TriggeredMs: time.Now().UnixMilli(), Savepoint: id == 3,
		}
		if tr.Savepoint {
			tr.Location, tr.Base = checkpointing.SavepointFolder("orders", id, "c0ffee"), 0
		}
		done := make(chan checkpointing.TaskSnapshot, 1)
		e.Export(tr, checkpointing.Cut{
			Epoch: record.Epoch(id), Snapshot: snapshot, Inputs: []checkpointing.InputPosition{{Topic: "in", Offset: 40 + id}},
		}, func(s checkpointing.TaskSnapshot, err error) {
			if err != nil {
				t.Error(err)
			}
			done <- s
		})
		tasks := []checkpointing.TaskSnapshot{<-done}
		p := checkpointing.Publish{Trigger: tr, Tasks: tasks, CompletedMs: tr.TriggeredMs + 2500}
		require.NoError(t, checkpointing.PublishManifest(t.Context(), s, p.Manifest(checkpointing.Application{
			ID: "orders", Stores: []checkpointing.StoreInfo{
				{Name: "per-minute", Type: store.TypeWindow, KeySerde: "string", ValueSerde: "string"},
				{Name: "counts", Type: store.TypeKeyValue, KeySerde: "string", ValueSerde: "int64"},
			},
		})))
	}
}

// command runs tidemark.
func command(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	var out strings.Builder
	require.Equal(t, wantCode, run(t.Context(), args, &out, &out), out.String())
	return out.String()
}

func TestCheckpointAndSavepoint(t *testing.T) {
	root := t.TempDir()
	s := dir.New(root)
	fill(t, s, nil)
	require.NoError(t, storage.Put(t.Context(), s, "orders/chk-4/0_0-9-full-1.snap", []byte("x"), storage.CreateOptions{}))
	require.NoError(t, storage.Put(t.Context(), s, "other/chk-9/MANIFEST.json", []byte("x"), storage.CreateOptions{}))
	at := "--storage=file://" + filepath.ToSlash(root)

	text := command(t, 0, "checkpoint", "list", at)
	lines := strings.Split(text, "\n")
	require.Regexp(t, `^4 +orders/chk-4 +incomplete`, lines[1])
	require.Regexp(t, `^2 +orders/chk-2 +complete +20.*2\.5s +1 `, lines[2])
	require.Regexp(t, `^9 +other/chk-9 +unusable`, lines[4])
	require.Contains(t, text, "it is damaged")
	var list []listed
	text = command(t, 0, "checkpoint", "list", at, "--application-id", "orders", "-output", "json")
	require.NoError(t, json.Unmarshal([]byte(text), &list))
	require.Len(t, list, 3)
	require.Equal(t, int64(2500), list[1].DurationMs)
	require.Greater(t, list[1].StateBytes, list[1].Bytes, "an increment")
	require.Equal(t, "[]\n", command(t, 0, "savepoint", "list", at, "--application-id", "nobody", "--output", "json"))

	text = command(t, 0, "checkpoint", "show", "orders/chk-2", at)
	require.Regexp(t, `(?m)^counts +0 +key-value +string +int64`, text)
	require.Regexp(t, `(?m)^0_0 +2 +.* 2 +0 .*in-0@42`, text)
	var m checkpointing.Manifest
	text = command(t, 0, "savepoint", "inspect", "orders/savepoint-3-c0ffee/", at, "--output=json")
	require.NoError(t, json.Unmarshal([]byte(text), &m))
	require.Equal(t, checkpointing.KindSavepoint, m.Kind)

	require.Contains(t, command(t, 0, "checkpoint", "verify", "orders/chk-2", at), "orders/chk-2: good, 2 files")
	require.Contains(t, command(t, 0, "savepoint", "verify", "--all", at), "orders/savepoint-3-c0ffee: good, 1 files")
	text = command(t, exitLoss, "checkpoint", "verify", "--all", at)
	require.Contains(t, text, "other/chk-9: DAMAGED")
	require.Contains(t, text, "orders/chk-1: good")

	// A bit in the file that both checkpoints need.
	found, err := checkpointing.Load(t.Context(), s, "orders/chk-1")
	require.NoError(t, err)
	file := filepath.Join(root, filepath.FromSlash(found.Tasks[0].Files[0].Name))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(file, data, 0o600))
	text = command(t, exitLoss, "checkpoint", "verify", "--all", "--application-id", "orders", at, "--output", "json")
	var results []verified
	require.NoError(t, json.Unmarshal([]byte(text), &results))
	require.Len(t, results, 2)
	require.False(t, results[0].Good || results[1].Good)
	require.Contains(t, results[0].Errors[0], "../chk-1/0_0-")

	require.Contains(t, command(t, exitError, "savepoint", "dispose", "orders/chk-1", at), "not a savepoint")
	require.Contains(t, command(t, 0, "savepoint", "dispose", "orders/savepoint-3-c0ffee", at), "deleted, 2 objects")
	text = command(t, exitError, "savepoint", "inspect", "orders/savepoint-3-c0ffee", at)
	require.Contains(t, text, "no checkpoint or savepoint")
}

func TestStateDump(t *testing.T) {
	root := t.TempDir()
	key := make([]byte, storage.KeyBytes)
	fill(t, dir.New(root), key)
	t.Setenv(storageVariable, root)
	require.Regexp(t, `(?m)^counts +0 +key-value`, command(t, 0, "state", "stores", "orders/chk-1"))

	keyFile := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(keyFile, []byte(hex.EncodeToString(key)+"\n"), 0o600))
	dump := func(args ...string) (rows []map[string]any) {
		t.Helper()
		text := command(t, 0, append([]string{"state", "dump", "--encryption-key-file", keyFile}, args...)...)
		for line := range strings.Lines(text) {
			var r map[string]any
			require.NoError(t, json.Unmarshal([]byte(line), &r), line)
			rows = append(rows, r)
		}
		return rows
	}
	other := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.WriteFile(other, bytes.Repeat([]byte{9}, storage.KeyBytes), 0o600))
	require.Len(t, dump("orders/chk-2", "counts", "--encryption-key-file", other), 3, "several keys")
	rows := dump("orders/chk-2", "counts", "--key", "string", "--value", "int64")
	require.Len(t, rows, 3)
	require.Equal(t, map[string]any{
		"task": "0_0", "timestamp": float64(1002),
		"key":   map[string]any{"base64": "YWxpY2U=", "text": "alice", "decoded": "alice"},
		"value": map[string]any{"base64": "AAAAAAAAAAI=", "decoded": float64(2)},
	}, rows[0])
	require.NotContains(t, rows[1]["key"], "text", "it is not printable")
	require.Len(t, dump("orders/savepoint-3-c0ffee", "counts", "--limit", "2"), 2)
	require.Empty(t, dump("orders/chk-2", "counts", "--task", "0_7"))

	var windows []any
	for _, r := range dump("orders/savepoint-3-c0ffee", "per-minute", "--key", "byte,time,string", "--value", "json") {
		key, value := r["key"], r["value"]
		if k, ok := key.(map[string]any); ok && k["decoded"] != nil {
			windows = append(windows, k["decoded"])
			v, ok := value.(map[string]any)
			require.True(t, ok)
			require.Equal(t, map[string]any{"n": float64(1)}, v["decoded"])
		}
	}
	require.Equal(t, []any{
		[]any{float64(1), "1970-01-01T00:01:00.000Z", "w"},
		[]any{float64(1), "1970-01-01T00:02:00.000Z", "w"},
		[]any{float64(1), "1970-01-01T00:03:00.000Z", "w"},
	}, windows)

	wrong := func(want string, args ...string) {
		t.Helper()
		require.Contains(t, command(t, exitError, append([]string{"state", "dump", "orders/chk-1"}, args...)...), want)
	}
	wrong("it is encrypted with the key", "counts")
	wrong(`no store "missing"`, "missing")
	wrong("is none of", "counts", "--key", "colour")
	wrong("only one field", "counts", "--key", "json,string")
	wrong("not a task id", "counts", "--task", "x")
	require.NoError(t, os.WriteFile(keyFile, []byte("short"), 0o600))
	wrong("no key of 32 bytes", "counts", "--encryption-key-file", keyFile)
}

func TestStorageFlag(t *testing.T) {
	t.Setenv(storageVariable, "")
	for _, c := range []struct{ storage, want string }{
		{"", "which storage?"},
		{"ftp://host/x", `scheme "ftp"`},
		{"file://host/x", "three slashes"},
		{"file:///does/not/exist", "no directory"},
		{"s3://user:geheim@bucket", "credentials"},
		{"s3://b?part-bytes=1", "PartBytes"},
		{"%", "no URL"},
	} {
		out := command(t, exitError, "checkpoint", "list", "--storage", c.storage)
		require.Contains(t, out, c.want)
		require.NotContains(t, out, "geheim")
	}
	out := command(t, exitError, "checkpoint", "list", "--storage", t.TempDir(), "--output", "xml")
	require.Contains(t, out, "want text or json")
	require.Contains(t, command(t, exitError, "checkpoint", "draw"), "checkpoint draw is unknown")
	require.Contains(t, command(t, exitError, "savepoint"), "Usage")
	require.Contains(t, command(t, exitError, "state", "dump", "x"), "wants 2 arguments, not 1")
}

func TestCompletion(t *testing.T) {
	root := t.TempDir()
	fill(t, dir.New(root), nil)
	require.Contains(t, command(t, 0, "completion", "bash"), "tidemark")
	out := command(t, 0, "__complete", "checkpoint", "show", "--storage", root, "")
	require.Contains(t, out, "orders/chk-1\n")
	require.NotContains(t, out, "savepoint")
	require.Contains(t, command(t, 0, "__complete", "state", "dump", "--storage", root, ""), "orders/savepoint-3-c0ffee\n")
}

func TestCheckpointsOnS3(t *testing.T) {
	server := storagetest.StartS3(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	s, err := s3.Open(server.URL("prod"))
	require.NoError(t, err)
	fill(t, s, nil)
	t.Setenv(storageVariable, server.URL("prod"))
	require.Contains(t, command(t, 0, "checkpoint", "verify", "--all"), "orders/chk-2: good")
	require.Contains(t, command(t, 0, "savepoint", "dispose", "orders/savepoint-3-c0ffee"), "deleted")
}
