package serde

// UnavailableError says that what a serde needs from outside, such as a schema registry, is not to be had. No record is
// to blame: no handler is asked, nothing is skipped or dead-lettered, and nothing is lost. The application starts again
// from its last commit, as its restart strategy says, or stops if Permanent.
//
// A Serde of your own that asks another service returns it, with %w or as it is.
type UnavailableError struct {
	// What is missing, for the message: `schema registry http://registry:8081`.
	What string
	// Permanent says that trying again will not help until somebody changes something: credentials, a setting, a schema
	// that the registry refuses. The application stops.
	Permanent bool
	// Err is the cause.
	Err error
}

func (e *UnavailableError) Error() string {
	if e.Permanent {
		return "serde: " + e.What + " refuses: " + e.Err.Error()
	}
	return "serde: " + e.What + " is not available: " + e.Err.Error()
}

func (e *UnavailableError) Unwrap() error { return e.Err }
