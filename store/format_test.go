package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

// TestStateFilesGolden pins the format of a state directory (docs/format/state-directory.md).
func TestStateFilesGolden(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "state.json")
	require.NoError(t, writeJSON(name, stateFile{Format: 1, ProcessID: "p", Host: "h", Inode: 7, Path: "/a"}))
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	//nolint:testifylint // bytes
	require.Equal(t, []byte(`{"format":1,"process_id":"p","host":"h","inode":7,"path":"/a"}`+"\n"), data)

	d, err := OpenStateDir(t.TempDir(), "app")
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	d.bootID = "b"
	id := record.TaskID{Subtopology: 0, Partition: 3}
	require.Equal(t, filepath.Join(d.Path(), "tasks", "0_3"), d.TaskDir(id))
	require.NoError(t, d.MarkOpen(id))
	data, err = os.ReadFile(filepath.Join(d.Path(), "tasks", "0_3.mark"))
	require.NoError(t, err)
	require.Equal(t, []byte(`{"format":1,"clean":false,"boot_id":"b"}`+"\n"), data) //nolint:testifylint // bytes
	require.NoError(t, d.MarkClean(id, -1))
	data, err = os.ReadFile(filepath.Join(d.Path(), "tasks", "0_3.mark"))
	require.NoError(t, err)
	require.Equal(t, []byte(`{"format":1,"clean":true,"boot_id":"b"}`+"\n"), data) //nolint:testifylint // bytes
	require.NoError(t, d.MarkClean(id, 41))
	data, err = os.ReadFile(filepath.Join(d.Path(), "tasks", "0_3.mark"))
	require.NoError(t, err)
	//nolint:testifylint // bytes
	require.Equal(t, []byte(`{"format":1,"clean":true,"boot_id":"b","position":42}`+"\n"), data)
}

// TestNamesGolden pins the table of store names (docs/format/database.md).
func TestNamesGolden(t *testing.T) {
	t.Parallel()
	require.Equal(t, "\x00\x00c", checkpointKey)
	require.Equal(t, "\x00\x00n", namesKey)
	names := map[string]uint16{"b": 300, "a": 1}
	data := encodeNames(names)
	require.Equal(t, "\x01\x02\x01a\x01\x01b\xac\x02", string(data))
	got, err := decodeNames(data)
	require.NoError(t, err)
	require.Equal(t, names, got)
	require.Equal(t, "\x07"+"\x01\x01\x0a\x00\x00\x00", string(encodeVersioned(7, Checkpoint{Epoch: 1, WallTimeMs: 5})))
}
