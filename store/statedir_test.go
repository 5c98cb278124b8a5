package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

func TestStateDirProcessID(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d, err := OpenStateDir(root, "app")
	require.NoError(t, err)
	id := d.ProcessID()
	require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)

	_, err = OpenStateDir(root, "app")
	require.ErrorIs(t, err, ErrLocked)
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, os.Getpid(), locked.PID)
	require.ErrorContains(t, err, "stop it")

	other, err := OpenStateDir(root, "app2")
	require.NoError(t, err, "another application may share the root")
	require.NotEqual(t, id, other.ProcessID())
	require.NoError(t, other.Close())

	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	d, err = OpenStateDir(root, "app")
	require.NoError(t, err)
	require.Equal(t, id, d.ProcessID(), "survives a restart")
	require.NoError(t, d.Close())

	moved := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.CopyFS(moved, os.DirFS(filepath.Join(root, "app"))))
	d, err = OpenStateDir(filepath.Dir(moved), "app")
	require.NoError(t, err)
	require.NotEqual(t, id, d.ProcessID(), "a copy is another process")
	require.NoError(t, d.Close())
}

func TestStateDirFormat(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d, err := OpenStateDir(root, "app")
	require.NoError(t, err)
	require.NoError(t, d.Close())
	info, err := os.Stat(d.Path())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())

	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "state.json"), []byte(`{"format":99}`), 0o600))
	_, err = OpenStateDir(root, "app")
	require.ErrorContains(t, err, "format 99")
	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "state.json"), []byte(`{`), 0o600))
	_, err = OpenStateDir(root, "app")
	var corrupt *CorruptError
	require.ErrorAs(t, err, &corrupt)

	for _, id := range []string{"", ".", "..", "a/b", ".hidden"} {
		_, err = OpenStateDir(root, id)
		require.Error(t, err, "%q", id)
	}
}

func TestStateDirTrust(t *testing.T) {
	t.Parallel()
	d, err := OpenStateDir(t.TempDir(), "app")
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	d.bootID = "boot-1"
	id := record.TaskID{Subtopology: 1, Partition: 12}
	expect := func(want bool, reason string) {
		t.Helper()
		got, why := d.Trusted(id)
		require.Equal(t, want, got, why)
		require.Contains(t, why, reason)
	}
	expect(true, "no state")
	require.NoError(t, os.Mkdir(d.TaskDir(id), 0o700))
	expect(false, "mark")
	require.NoError(t, d.MarkOpen(id))
	expect(true, "not restarted")
	d.bootID = "boot-2"
	expect(false, "before the machine was restarted")
	d.bootID = ""
	expect(false, "does not tell")
	d.bootID = "boot-2"
	require.NoError(t, d.MarkClean(id, 7))
	tasks, err := d.Tasks()
	require.NoError(t, err)
	require.Len(t, tasks, 1)
	require.Equal(t, int64(7), tasks[0].Position)
	d.bootID = "boot-3"
	expect(true, "cleanly")
	require.NoError(t, os.WriteFile(d.markName(id), []byte("x"), 0o600))
	expect(false, "damaged")
	data, err := json.Marshal(markFile{Format: 9, Clean: true})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(d.markName(id), data, 0o600))
	expect(false, "newer")

	require.NoError(t, os.Mkdir(d.TaskDir(record.TaskID{}), 0o700))
	require.NoError(t, d.MarkOpen(record.TaskID{}))
	tasks, err = d.Tasks()
	require.NoError(t, err)
	require.Len(t, tasks, 2)
	require.Equal(t, int64(-1), tasks[0].Position, "in use")
	require.Equal(t, record.TaskID{}, tasks[0].ID)
	require.Equal(t, id, tasks[1].ID)
	require.Positive(t, tasks[0].LastMarkedMs)
	require.NoError(t, d.Remove(id))
	require.NoError(t, d.Remove(id))
	expect(true, "no state")
}

func TestDefaultStateDir(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/srv/state")
	dir, err := DefaultStateDir()
	require.NoError(t, err)
	require.Equal(t, "/srv/state/tidemark", dir)
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", "/home/me")
	dir, err = DefaultStateDir()
	require.NoError(t, err)
	require.Equal(t, "/home/me/.local/state/tidemark", dir)
	t.Setenv("HOME", "/tmp/me")
	t.Setenv("XDG_CONFIG_HOME", "/tmp/x")
	_, err = DefaultStateDir()
	require.ErrorContains(t, err, "no state directory")
}
