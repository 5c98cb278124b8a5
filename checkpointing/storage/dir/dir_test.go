package dir_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
)

func TestDir(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storage.Storage {
		t.Helper()
		return dir.New(filepath.Join(t.TempDir(), "made", "when needed"))
	})
}

func TestDirIsLeftTidy(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := dir.New(root)
	for _, name := range []string{"app/chk-1/a", "app/chk-1/b", "app/chk-2/a"} {
		require.NoError(t, storage.Put(t.Context(), s, name, []byte("x"), storage.CreateOptions{Exclusive: true}))
	}
	files := func() (all []string) {
		require.NoError(t, filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
			rel, relErr := filepath.Rel(root, p)
			all = append(all, filepath.ToSlash(rel))
			return errors.Join(err, relErr)
		}))
		return all
	}
	require.Equal(t, []string{
		".", "app", "app/chk-1", "app/chk-1/a", "app/chk-1/b", "app/chk-2", "app/chk-2/a",
	}, files())
	require.NoError(t, s.Delete(t.Context(), "app/chk-1/a", "app/chk-1/b"))
	require.Equal(t, []string{".", "app", "app/chk-2", "app/chk-2/a"}, files())
	require.NoError(t, s.Delete(t.Context(), "app/chk-2/a"))
	require.Equal(t, []string{"."}, files(), "the root stays: it may be a mount point")
}

// Folders come and go while others write into them.
func TestDirFoldersComeAndGo(t *testing.T) {
	t.Parallel()
	s := dir.New(t.TempDir())
	var g errgroup.Group
	for i := range 12 {
		g.Go(func() error {
			name := fmt.Sprintf("app/chk-%d/%d", i%3, i)
			for range 50 {
				err := storage.Put(t.Context(), s, name, []byte("x"), storage.CreateOptions{Exclusive: i%2 == 0})
				if err := errors.Join(err, s.Delete(t.Context(), name)); err != nil {
					return err
				}
			}
			return storage.Put(t.Context(), s, name, nil, storage.CreateOptions{})
		})
	}
	require.NoError(t, g.Wait())
	n := 0
	for _, err := range s.List(t.Context(), "app/") {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 12, n)
}

func TestDirMistakes(t *testing.T) {
	t.Parallel()
	err := storage.Put(t.Context(), dir.New(""), "a", nil, storage.CreateOptions{})
	require.ErrorContains(t, err, "the directory has no name")
	require.False(t, storage.Transient(err))

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	err = storage.Put(t.Context(), dir.New(file), "a", nil, storage.CreateOptions{})
	require.Error(t, err)
	require.False(t, storage.Transient(err), "%v", err)

	if runtime.GOOS != "linux" {
		return
	}
	// A file system that is always full.
	full := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.Mkdir(full, 0o700))
	s := dir.New(filepath.Dir(full))
	w, err := s.Create(t.Context(), "app/a", storage.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(full), "somebody cleans up by hand")
	err = w.Commit(t.Context())
	require.Error(t, err)
	require.True(t, storage.Transient(err), "%v", err)
}
