package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Checks of Badger's files that need no Badger.

// manifestFile lists the tables of a database.
const manifestFile = "MANIFEST"

// sealFile is written when a directory is closed and removed when it is opened.
const sealFile = "TIDEMARK-SEAL"

const sealVersion = 1

// seal lists what a closed directory consists of.
type seal struct {
	Version  int              `json:"version"`
	Manifest uint32           `json:"manifest_crc32c"`
	Files    map[string]int64 `json:"files"` // sizes
}

func writeSeal(dir string) error {
	manifest, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return fmt.Errorf("store: seal: %w", err)
	}
	s := seal{Version: sealVersion, Manifest: crc32.Checksum(manifest, crc32.MakeTable(crc32.Castagnoli))}
	if s.Files, err = vitalFiles(dir); err != nil {
		return err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("store: seal: %w", err)
	}
	return writeFileAtomic(filepath.Join(dir, sealFile), data)
}

// vitalFiles returns the sizes of the files in dir that hold state.
func vitalFiles(dir string) (map[string]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	sizes := make(map[string]int64)
	for _, entry := range entries {
		name := entry.Name()
		if name != manifestFile && name != "KEYREGISTRY" && !strings.HasSuffix(name, ".sst") &&
			!strings.HasSuffix(name, ".vlog") && !strings.HasSuffix(name, ".mem") {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		sizes[name] = info.Size()
	}
	return sizes, nil
}

// checkSeal compares the directory with its seal, if there is one.
func checkSeal(dir string, sizes map[string]int64) (sealed bool, err error) {
	data, err := os.ReadFile(filepath.Join(dir, sealFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	damaged := func(file string, err error) (bool, error) {
		return false, &CorruptError{Dir: dir, File: file, Err: err, Hint: corruptHint}
	}
	var s seal
	if json.Unmarshal(data, &s) != nil || s.Version != sealVersion {
		return false, nil //nolint:nilerr // a seal that cannot be read is none: everything is read instead
	}
	for name, want := range s.Files {
		got, ok := sizes[name]
		if !ok {
			return damaged(name, os.ErrNotExist)
		}
		if got != want {
			return damaged(name, fmt.Errorf("has %d bytes, %d when it was closed", got, want))
		}
	}
	manifest, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return damaged(manifestFile, err)
	}
	if crc32.Checksum(manifest, crc32.MakeTable(crc32.Castagnoli)) != s.Manifest {
		return damaged(manifestFile, errors.New("checksum differs from when it was closed"))
	}
	return true, nil
}

// verifyFooter checks the lengths at the end of a table, for which Badger ends the process:
//
//	… index │ length of index │ checksum │ length of checksum
func verifyFooter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at := info.Size()
	number := func() (int64, error) {
		var b [4]byte
		if at < 4 {
			return 0, io.ErrUnexpectedEOF
		}
		at -= 4
		_, err := f.ReadAt(b[:], at)
		return int64(binary.BigEndian.Uint32(b[:])), err
	}
	for _, what := range [2]string{"checksum", "index"} {
		n, err := number()
		if err != nil {
			return fmt.Errorf("%s length: %w", what, err)
		}
		if n == 0 || n > at {
			return fmt.Errorf("%s of %d bytes in front of offset %d: truncated or overwritten", what, n, at)
		}
		at -= n
	}
	return nil
}

// verifyLogs checks Badger's logs of memtables that are not in a table yet. Badger ends the replay of a log at the
// first entry that does not match its checksum. For the newest log that is right whatever the cause: what remains is
// a prefix of the flushes. An older one with a hole would lose entries that a later checkpoint claims.
func verifyLogs(dir string, sizes map[string]int64, damaged func(string, error) error) (logBytes int64, err error) {
	var logs []string
	for name := range sizes {
		if strings.HasSuffix(name, ".mem") {
			logs = append(logs, name)
		}
	}
	slices.Sort(logs) // Badger pads the numbers with zeros
	for i, name := range logs {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return 0, fmt.Errorf("store: %w", err)
		}
		n, err := verifyLog(data)
		if err != nil && i < len(logs)-1 {
			return 0, damaged(name, err)
		}
		logBytes = max(logBytes, n)
	}
	return logBytes, nil
}

// verifyLog reads the entries of a log: header, key, value, CRC-32C; zeros follow the last. It returns what the
// entries take in a memtable.
func verifyLog(data []byte) (memtableBytes int64, err error) {
	const fileHeaderBytes, nodeBytesMax = 20, 128
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	at := fileHeaderBytes
	for at < len(data) {
		d := decoder{data: data[min(at+2, len(data)):]} // behind meta and user meta
		before := len(d.data)
		keyLen, valueLen := d.uvarint(), d.uvarint()
		d.uvarint() // expiry
		header := 2 + before - len(d.data)
		if keyLen == 0 && valueLen == 0 {
			break
		}
		rest := uint64(max(len(data)-at-header, 0))
		if d.failed || keyLen > rest || valueLen > rest || keyLen+valueLen+4 > rest {
			return memtableBytes, fmt.Errorf("entry at offset %d is malformed", at)
		}
		end := at + header + int(keyLen+valueLen)
		if crc32.Checksum(data[at:end], castagnoli) != binary.BigEndian.Uint32(data[end:]) {
			return memtableBytes, fmt.Errorf("entry at offset %d does not match its checksum", at)
		}
		memtableBytes += int64(keyLen+valueLen) + nodeBytesMax
		at = end + 4
	}
	// Mostly a hole in the file, of many megabytes.
	var zeros [4096]byte
	for ; at < len(data); at += len(zeros) {
		block := data[at:min(at+len(zeros), len(data))]
		if !bytes.Equal(block, zeros[:len(block)]) {
			at += slices.IndexFunc(block, func(b byte) bool { return b != 0 })
			return memtableBytes, fmt.Errorf("garbage at offset %d", at)
		}
	}
	return memtableBytes, nil
}
