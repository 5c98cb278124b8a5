package storage

import (
	"errors"
	"fmt"
	"strings"
)

// nameBytesMax is below S3's 1,024 bytes and leaves room for a prefix; segmentBytesMax is what file systems take, less
// what a temporary name adds.
const (
	nameBytesMax    = 900
	segmentBytesMax = 200
)

// CheckName returns an error if an object cannot have this name in every storage.
func CheckName(name string) error {
	if name == "" {
		return errors.New("storage: the name of an object is empty")
	}
	if len(name) > nameBytesMax {
		return fmt.Errorf("storage: the name %q… has %d bytes, at most %d are possible", name[:40], len(name), nameBytesMax)
	}
	for segment := range strings.SplitSeq(name, "/") {
		if err := checkSegment(segment); err != nil {
			return fmt.Errorf("storage: the name %q %w", name, err)
		}
	}
	return nil
}

// CheckPrefix returns an error if no name can begin with prefix. The empty prefix is that of all names.
func CheckPrefix(prefix string) error {
	if prefix == "" || CheckName(strings.TrimSuffix(prefix, "/")) == nil {
		return nil
	}
	return CheckName(prefix)
}

func checkSegment(segment string) error {
	switch {
	case segment == "":
		return errors.New("has an empty part: neither begin nor end with a slash, nor have two in a row")
	case segment == "." || segment == "..":
		return errors.New("has a part that leads elsewhere")
	case len(segment) > segmentBytesMax:
		return fmt.Errorf("has a part of more than %d bytes", segmentBytesMax)
	}
	for _, r := range segment {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-=", r) {
			continue
		}
		return fmt.Errorf("has %q; letters, digits, and . _ - = are possible", r)
	}
	return nil
}
