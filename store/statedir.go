package store

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// stateDirFormat is the version of the layout of a state directory.
const stateDirFormat = 1

// StateDir is the directory that holds the state of one application on one machine:
//
//	<root>/<application-id>/
//	  lock                held while in use; contains the process's pid
//	  state.json          format version, process id, and what the directory looked like
//	  plan.json           the topology that ran last, see docs/format/topology-description.md
//	  tasks/0_3/          a task's database
//	  tasks/0_3.mark      whether it was closed cleanly, or else in which boot of the machine it was opened
//	  global/             the database of the global stores, with global.mark
//
// Safe for concurrent use on different tasks; a task's directory belongs to whoever runs the task.
type StateDir struct {
	path      string
	processID string
	fresh     bool   // processID was made by this OpenStateDir
	bootID    string // "" if the system does not tell
	lock      *os.File
}

// stateFile is state.json.
type stateFile struct {
	Format    int    `json:"format"`
	ProcessID string `json:"process_id"`
	// Host and Inode tell a directory from its copy; Path does where there are no inodes.
	Host  string `json:"host"`
	Inode uint64 `json:"inode,omitempty"`
	Path  string `json:"path"`
}

// markFile is a task's .mark.
type markFile struct {
	Format int    `json:"format"`
	Clean  bool   `json:"clean"`
	BootID string `json:"boot_id,omitempty"` // of the boot in which the task was opened
	// Position is the sum of the positions in changelogs of a clean task that has any, plus one: 0 is unknown.
	Position int64 `json:"position,omitempty"`
}

// DefaultStateDir returns the root to use if the user names none: $XDG_STATE_HOME/tidemark, or ~/.local/state/tidemark,
// or tidemark in the user's configuration directory. Never a temporary directory: state there vanishes and shows up as
// an unexplained restore.
func DefaultStateDir() (string, error) {
	var candidates []string
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		candidates = append(candidates, dir)
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		candidates = append(candidates, filepath.Join(home, ".local", "state"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		candidates = append(candidates, dir)
	}
	for _, dir := range candidates {
		if !isTemporary(dir) {
			return filepath.Join(dir, "tidemark"), nil
		}
	}
	return "", errors.New("store: no state directory: set Config.StateDir, as neither $XDG_STATE_HOME nor $HOME name a " +
		"directory that lasts")
}

func isTemporary(dir string) bool {
	for _, tmp := range []string{"/tmp", "/var/tmp", filepath.Clean(os.TempDir())} {
		if dir == tmp || strings.HasPrefix(dir, tmp+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// OpenStateDir opens the state directory of an application and locks it; a [*LockedError] says who has it.
func OpenStateDir(root, applicationID string) (_ *StateDir, err error) {
	if applicationID == "" || applicationID != filepath.Base(applicationID) || strings.HasPrefix(applicationID, ".") {
		return nil, fmt.Errorf("store: application id %q cannot name a directory", applicationID)
	}
	if root == "" {
		return nil, errors.New("store: state directory is empty; see DefaultStateDir")
	}
	path, err := filepath.Abs(filepath.Join(root, applicationID))
	if err != nil {
		return nil, fmt.Errorf("store: state directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(path, "tasks"), 0o700); err != nil {
		return nil, fmt.Errorf("store: state directory: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // a directory needs x
		return nil, fmt.Errorf("store: state directory: %w", err)
	}
	d := &StateDir{path: path, bootID: bootID()}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if err := d.identify(); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *StateDir) acquire() error {
	name := filepath.Join(d.path, "lock")
	f, err := lockFile(name)
	if errors.Is(err, errHeld) {
		pid := 0
		if data, err := os.ReadFile(name); err == nil {
			pid, _ = strconv.Atoi(strings.TrimSpace(string(data))) // 0 is unknown
		}
		return &LockedError{Dir: d.path, PID: pid, Hint: "stop it, or give this instance a state directory of its own"}
	}
	if err != nil {
		return fmt.Errorf("store: lock state directory: %w", err)
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(pid), 0)
	}
	if err != nil {
		return fmt.Errorf("store: lock state directory: %w", errors.Join(err, unlockFile(f)))
	}
	d.lock = f
	return nil
}

// identify reads the process id, or makes one if there is none or it belongs to the directory that this is a copy of:
// two processes with one id would fence each other for ever.
func (d *StateDir) identify() error {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	now := stateFile{Format: stateDirFormat, Host: host, Inode: inode(d.path), Path: d.path}
	name := filepath.Join(d.path, "state.json")
	data, err := os.ReadFile(name)
	if err == nil {
		var was stateFile
		if err := json.Unmarshal(data, &was); err != nil {
			return &CorruptError{
				Dir: d.path, File: "state.json", Err: err,
				Hint: "remove the file: the process gets a new id, the tasks' state is kept",
			}
		}
		if was.Format > stateDirFormat {
			return fmt.Errorf("store: %s has format %d, this program knows up to %d: use the newer version of Tidemark "+
				"that wrote it, or another directory", d.path, was.Format, stateDirFormat)
		}
		samePlace := was.Inode == now.Inode && (now.Inode != 0 || was.Path == now.Path)
		if was.ProcessID != "" && was.Host == now.Host && samePlace {
			d.processID = was.ProcessID
			return nil
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: state directory: %w", err)
	}
	d.processID, d.fresh = newUUID(), true
	now.ProcessID = d.processID
	return writeJSON(name, now)
}

// newUUID returns a random UUID (version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func writeJSON(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return writeFileAtomic(name, append(data, '\n'))
}

// bootID returns what changes with every boot of the machine, "" if unknown.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // not Linux: only clean directories are trusted
	}
	return strings.TrimSpace(string(data))
}

// Path returns the application's directory.
func (d *StateDir) Path() string { return d.path }

// ProcessID returns a UUID that names this member of the application over restarts.
func (d *StateDir) ProcessID() string { return d.processID }

// Fresh reports that the process id is new: nobody knows this member yet.
func (d *StateDir) Fresh() bool { return d.fresh }

// TaskDir returns the directory of a task, which may not exist yet.
func (d *StateDir) TaskDir(id record.TaskID) string {
	if id == record.GlobalTaskID() {
		return filepath.Join(d.path, "global")
	}
	return filepath.Join(d.path, "tasks", id.String())
}

func (d *StateDir) markName(id record.TaskID) string { return d.TaskDir(id) + ".mark" }

// Plan returns what SavePlan has kept; nil if nothing.
func (d *StateDir) Plan() ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(d.path, planFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return data, nil
}

// SavePlan keeps the description of the topology that runs here.
func (d *StateDir) SavePlan(data []byte) error {
	return writeFileAtomic(filepath.Join(d.path, planFile), data)
}

const planFile = "plan.json"

// Trusted reports whether the files of a task can be relied on, and why or why not: they were closed cleanly, or the
// process died but the machine did not, so that everything written is there. A task without state is trusted.
func (d *StateDir) Trusted(id record.TaskID) (trusted bool, reason string) {
	if _, err := os.Stat(d.TaskDir(id)); errors.Is(err, os.ErrNotExist) {
		return true, "no state yet"
	}
	data, err := os.ReadFile(d.markName(id))
	if err != nil {
		return false, "the mark that tells how the task was closed cannot be read: " + err.Error()
	}
	var m markFile
	switch err := json.Unmarshal(data, &m); {
	case err != nil:
		return false, "the mark that tells how the task was closed is damaged: " + err.Error()
	case m.Format > stateDirFormat:
		return false, "written by a newer version of Tidemark"
	case m.Clean:
		return true, "closed cleanly"
	case m.BootID == "" || d.bootID == "":
		return false, "not closed cleanly, and the system does not tell whether it was restarted since"
	case m.BootID != d.bootID:
		return false, "not closed cleanly before the machine was restarted"
	}
	return true, "not closed cleanly, but the machine was not restarted since"
}

// MarkOpen notes that the files of a task are about to change. Call it before [OpenSet].
func (d *StateDir) MarkOpen(id record.TaskID) error {
	return writeJSON(d.markName(id), markFile{Format: stateDirFormat, BootID: d.bootID})
}

// MarkClean notes that the files of a task are complete, and the sum of their positions in changelogs, -1 if that is
// unknown. Call it after [Set.Close] returned no error.
func (d *StateDir) MarkClean(id record.TaskID, position int64) error {
	return writeJSON(d.markName(id), markFile{
		Format: stateDirFormat, Clean: true, BootID: d.bootID, Position: max(position, -1) + 1,
	})
}

// Remove deletes the state of a task. A crash in between leaves files without a mark, which are not trusted.
func (d *StateDir) Remove(id record.TaskID) error {
	if err := os.Remove(d.markName(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("store: remove state of task %s: %w", id, err)
	}
	if err := os.RemoveAll(d.TaskDir(id)); err != nil {
		return fmt.Errorf("store: remove state of task %s: %w", id, err)
	}
	return syncDir(filepath.Dir(d.TaskDir(id)))
}

// TaskState is a task that has files.
type TaskState struct {
	ID record.TaskID
	// LastMarkedMs is when the task was last opened or closed here, in milliseconds since the Unix epoch; 0 if unknown.
	LastMarkedMs int64
	// Position is the sum of the positions in changelogs that the task was closed with, -1 if unknown.
	Position int64
}

// Tasks lists the tasks that have state, in order: those that are not assigned here any more can be removed some time
// after they were last used.
func (d *StateDir) Tasks() ([]TaskState, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, "tasks"))
	if err != nil {
		return nil, fmt.Errorf("store: list state: %w", err)
	}
	var tasks []TaskState
	for _, entry := range entries {
		id, err := record.ParseTaskID(entry.Name())
		if err != nil || !entry.IsDir() {
			continue // marks, and what is not ours
		}
		t := TaskState{ID: id, Position: -1}
		if info, err := os.Stat(d.markName(id)); err == nil {
			t.LastMarkedMs = info.ModTime().UnixMilli()
		}
		if data, err := os.ReadFile(d.markName(id)); err == nil {
			var m markFile
			if json.Unmarshal(data, &m) == nil && m.Clean && m.Format == stateDirFormat {
				t.Position = max(m.Position, 0) - 1
			}
		}
		tasks = append(tasks, t)
	}
	slices.SortFunc(tasks, func(a, b TaskState) int { return a.ID.Compare(b.ID) })
	return tasks, nil
}

// Close releases the lock.
func (d *StateDir) Close() error {
	if d.lock == nil {
		return nil
	}
	f := d.lock
	d.lock = nil
	if err := unlockFile(f); err != nil {
		return fmt.Errorf("store: unlock state directory: %w", err)
	}
	return nil
}

// errHeld says that somebody else has the lock.
var errHeld = errors.New("lock is held")
