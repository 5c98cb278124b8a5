package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/tidemarkio/tidemark/serde"
)

// Error is a call that failed. Within a [serde.UnavailableError] it is about the registry; alone it is about an id
// that the registry does not know, or about a schema that cannot be used.
type Error struct {
	Op      string // what was to be done: "register a schema"
	Subject string // "" if the call was about an id
	ID      int    // 0 if the call was about a subject
	Status  int    // of HTTP, 0 without an answer
	Code    int    // the registry's error_code, 0 without one
	Hint    string // what the reader can do
	Err     error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("registry: " + e.Op)
	if e.Subject != "" {
		fmt.Fprintf(&b, ", subject %q", e.Subject)
	}
	if e.ID != 0 {
		fmt.Fprintf(&b, ", schema id %d", e.ID)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, ": HTTP %d", e.Status)
	}
	if e.Code != 0 {
		fmt.Fprintf(&b, ", error code %d", e.Code)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// class is what to do about an error.
type class int

const (
	transient class = iota // try again
	refused                // somebody has to change something
	missing                // the registry answers that there is no such thing
)

// classify fills in what an answer says, and tells what to do about it.
func classify(e *Error) class {
	if tokens := (*tokenError)(nil); errors.As(e.Err, &tokens) {
		return transient
	}
	answer, ok := errors.AsType[*sr.ResponseError](e.Err)
	if !ok {
		return transient // no connection, a time-out, or an answer that is no JSON: something in between answered
	}
	e.Status, e.Code = answer.StatusCode, answer.ErrorCode
	switch s := e.Status; {
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusTooManyRequests:
		return transient
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		e.Hint = "set Config.Username and Password, or BearerToken, and grant them the subject"
	case s == http.StatusNotFound && sr.IsNotFoundError(e.Code):
		return missing
	case s == http.StatusNotFound:
		e.Hint = "the URL answers, but not as a schema registry: mend Config.URLs"
	case s == http.StatusConflict:
		e.Hint = "the schema is not compatible with the subject's earlier ones: change it, or the subject's compatibility"
	case s == http.StatusUnprocessableEntity:
		e.Hint = "the registry does not accept the schema: mend it"
	}
	return refused
}

// unavailable is the error for a registry that cannot be used.
func (c *Client) unavailable(permanent bool, err error) error {
	what := "schema registry " + strings.Join(c.cfg.URLs, ", ")
	return &serde.UnavailableError{What: what, Permanent: permanent, Err: err}
}

// tokenError says that Config.BearerToken failed: its issuer is a service that comes back, too.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "Config.BearerToken: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }
