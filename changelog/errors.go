package changelog

import "errors"

// ErrPositionLost says that the log no longer holds the position (compaction or retention removed it): a base older
// than that cannot be caught up.
var ErrPositionLost = errors.New("changelog: the position lies outside of the log")
