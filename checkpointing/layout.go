package checkpointing

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// What lies where in a storage: docs/format/manifest.md.
const (
	manifestName    = "MANIFEST.json"
	checkpointStem  = "chk-"
	savepointStem   = "savepoint-"
	snapshotSuffix  = ".snap"
	indexSuffix     = ".idx"
	fullMark        = "full"
	incrementalMark = "inc"
	inFlightMark    = "inflight"
)

// Kind tells checkpoints from savepoints.
type Kind string

// The kinds.
const (
	KindCheckpoint Kind = "checkpoint"
	KindSavepoint  Kind = "savepoint"
)

// ManifestName is the name of the manifest of the checkpoint or savepoint in a folder.
func ManifestName(location string) string { return location + "/" + manifestName }

// parseFolder takes kind and id out of the last part of a folder's name; false if it is neither a checkpoint's nor a
// savepoint's.
func parseFolder(folder string) (kind Kind, id int64, ok bool) {
	base := path.Base(folder)
	if text, found := strings.CutPrefix(base, checkpointStem); found {
		id, err := strconv.ParseInt(text, 10, 64)
		return KindCheckpoint, id, err == nil && id > 0 && text == strconv.FormatInt(id, 10)
	}
	if text, found := strings.CutPrefix(base, savepointStem); found {
		text, _, _ = strings.Cut(text, "-")
		id, err := strconv.ParseInt(text, 10, 64)
		return KindSavepoint, id, err == nil && id > 0
	}
	return "", 0, false
}

// folderOf returns the folder of an application that an object lies in, and its kind and id.
func folderOf(applicationID, name string) (folder string, kind Kind, id int64, ok bool) {
	rest, ok := strings.CutPrefix(name, applicationID+"/")
	if !ok {
		return "", "", 0, false
	}
	first, _, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", 0, false
	}
	kind, id, ok = parseFolder(first)
	return applicationID + "/" + first, kind, id, ok
}

// fileName is the name of a task's file. unique tells the files of two owners of a task apart, which a move in the
// middle of a checkpoint may make.
func fileName(location string, task record.TaskID, version uint64, mark, unique string) string {
	return fmt.Sprintf("%s/%s-%d-%s-%s%s", location, task, version, mark, unique, snapshotSuffix)
}

// indexName is the name of a file's index.
func indexName(file string) string { return strings.TrimSuffix(file, snapshotSuffix) + indexSuffix }

// relative is how a manifest names an object: from its own folder on, so that folders can be copied elsewhere.
func relative(location, name string) string {
	if rest, ok := strings.CutPrefix(name, location+"/"); ok {
		return rest
	}
	if parent := path.Dir(location); parent != "." {
		if rest, ok := strings.CutPrefix(name, parent+"/"); ok {
			return "../" + rest
		}
	}
	return name
}

// absolute is the inverse of relative; false if the name leads out of the folder of the application.
func absolute(location, name string) (string, bool) {
	full := path.Join(location, name)
	parent := path.Dir(location)
	ok := strings.HasPrefix(full, location+"/") || parent != "." && strings.HasPrefix(full, parent+"/") &&
		strings.HasPrefix(name, "../")
	return full, ok
}
