package checkpointing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/record"
)

// manifestFormat is the version of manifests.
const manifestFormat = 1

// manifestFile is the file around a manifest: its version, which every version of this library understands, and a
// checksum of the manifest's bytes.
type manifestFile struct {
	FormatVersion int             `json:"formatVersion"`
	SHA256        string          `json:"sha256"`
	Manifest      json.RawMessage `json:"manifest"`
}

// encodeManifest writes the file of a manifest that lies in m.Location.
func encodeManifest(m *Manifest) ([]byte, error) {
	body, err := json.MarshalIndent(m.withNames(func(name string) (string, bool) {
		return relative(m.Location, name), true
	}), "  ", "  ")
	if err != nil {
		return nil, fmt.Errorf("checkpointing: encode the manifest of %s: %w", m.Location, err)
	}
	sum := sha256.Sum256(body)
	var out bytes.Buffer
	fmt.Fprintf(&out, "{\n  \"formatVersion\": %d,\n  \"sha256\": %q,\n  \"manifest\": %s\n}\n", manifestFormat,
		hex.EncodeToString(sum[:]), body)
	return out.Bytes(), nil
}

// decodeManifest reads the file of a manifest that lies in a folder, and checks all that can be checked without the
// files that it names.
func decodeManifest(location string, data []byte) (*Manifest, error) {
	var file manifestFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, damaged("%w", err)
	}
	if file.FormatVersion > manifestFormat {
		return nil, fmt.Errorf("%w: it has format %d, this program reads up to %d", ErrNewerFormat, file.FormatVersion,
			manifestFormat)
	}
	if file.FormatVersion < 1 {
		return nil, damaged("it has no format version")
	}
	if sum := sha256.Sum256(file.Manifest); hex.EncodeToString(sum[:]) != file.SHA256 {
		return nil, damaged("its checksum does not fit")
	}
	var raw Manifest
	d := json.NewDecoder(bytes.NewReader(file.Manifest))
	d.DisallowUnknownFields()
	if err := d.Decode(&raw); err != nil {
		return nil, damaged("%w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, damaged("something follows the manifest")
	}
	var outside string
	m := raw.withNames(func(name string) (string, bool) {
		full, ok := absolute(location, name)
		if ok = ok && storage.CheckName(full) == nil; !ok {
			outside = name
		}
		return full, ok
	})
	if outside != "" {
		return nil, damaged("the name %q leads elsewhere", outside)
	}
	m.Location = location
	if err := m.check(); err != nil {
		return nil, damaged("%w", err)
	}
	return m, nil
}

// withNames returns a copy with other names of files; a name for which change returns false stays.
func (m *Manifest) withNames(change func(name string) (string, bool)) *Manifest {
	rename := func(name string) string {
		if other, ok := change(name); ok {
			return other
		}
		return name
	}
	c := *m
	c.Tasks = slices.Clone(m.Tasks)
	for i := range c.Tasks {
		t := &c.Tasks[i]
		t.Files, t.Beside = slices.Clone(t.Files), slices.Clone(t.Beside)
		for j := range t.Files {
			t.Files[j].Name = rename(t.Files[j].Name)
		}
		for j := range t.Beside {
			t.Beside[j] = rename(t.Beside[j])
		}
		if t.InFlightFile != nil {
			f := *t.InFlightFile
			f.Name = rename(f.Name)
			t.InFlightFile = &f
		}
	}
	return &c
}

// check finds what no checkpoint has.
func (m *Manifest) check() error {
	if m.Kind != KindCheckpoint && m.Kind != KindSavepoint {
		return fmt.Errorf("its kind is %q", m.Kind)
	}
	if m.ID <= 0 || m.ApplicationID == "" {
		return fmt.Errorf("it is number %d of application %q", m.ID, m.ApplicationID)
	}
	seen := make(map[record.TaskID]bool)
	for i := range m.Tasks {
		t := &m.Tasks[i]
		if seen[t.Task] {
			return fmt.Errorf("task %s is there twice", t.Task)
		}
		seen[t.Task] = true
		if err := m.checkTask(t); err != nil {
			return fmt.Errorf("task %s: %w", t.Task, err)
		}
	}
	return nil
}

func (m *Manifest) checkTask(t *TaskSnapshot) error {
	for i, f := range t.Files {
		want := FileIncremental
		if i == 0 {
			want = FileFull
		}
		if f.Kind != want {
			return fmt.Errorf("file %d is %q, not %q", i, f.Kind, want)
		}
	}
	if f := t.InFlightFile; f != nil && f.Kind != FileInFlight {
		return fmt.Errorf("the file of what was in flight is %q", f.Kind)
	}
	var err error
	t.all(func(f File) bool {
		sum, hexErr := hex.DecodeString(f.SHA256)
		switch {
		case f.Bytes < 0 || f.Entries < 0 || hexErr != nil || len(sum) != sha256.Size:
			err = fmt.Errorf("file %s has %d bytes, %d entries and the checksum %q", f.Name, f.Bytes, f.Entries, f.SHA256)
		case m.Kind == KindSavepoint && !strings.HasPrefix(f.Name, m.Location+"/"):
			err = fmt.Errorf("file %s is not in the savepoint's own folder", f.Name)
		}
		return err == nil
	})
	return err
}
