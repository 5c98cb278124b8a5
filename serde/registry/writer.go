package registry

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/sr"
)

// Registered is a schema and the id that stands for it in front of data.
type Registered struct {
	ID     int
	Schema Schema
}

// Writer knows the id under which a serde writes. It asks the registry once, and after a failure again.
type Writer struct {
	client  *Client
	subject string
	schema  Schema
	done    atomic.Pointer[Registered]
}

// Writer returns the writer of a schema, for a serde. name is the full name of the type, for the [Naming]. No I/O.
func (c *Client) Writer(naming Naming, name string, schema Schema) (*Writer, error) {
	if c == nil {
		return nil, errNoClient
	}
	subject, err := naming.SubjectOf(name)
	if err != nil {
		return nil, err
	}
	return &Writer{client: c, subject: subject, schema: schema}, nil
}

// Subject returns the subject.
func (w *Writer) Subject() string { return w.subject }

// Registered returns the id and the schema to write with: the writer's own, or the subject's latest with [Latest]. All
// but the first call are a pointer read. Any error is a [serde.UnavailableError].
func (w *Writer) Registered(ctx context.Context) (*Registered, error) {
	if r := w.done.Load(); r != nil {
		return r, nil
	}
	v, err, _ := w.client.calls.Do("subject "+w.subject+"\x00"+w.schema.Text, func() (any, error) {
		r, err := w.client.register(ctx, w.subject, w.schema, 0)
		return r, err
	})
	if err != nil {
		return nil, err
	}
	r, ok := v.(*Registered)
	if !ok {
		return nil, w.client.unavailable(true, fmt.Errorf("registry: subject %q: a shared call returned %T", w.subject, v))
	}
	w.done.Store(r)
	return r, nil
}

// register finds the id of a schema, as Config.Registration says.
func (c *Client) register(ctx context.Context, subject string, s Schema, depth int) (*Registered, error) {
	if c.cfg.Registration == Latest {
		return c.latest(ctx, subject, s.Type)
	}
	request, err := c.request(ctx, subject, s, depth)
	if err != nil {
		return nil, err
	}
	if c.cfg.Registration == Lookup {
		id, _, err := c.lookup(ctx, subject, request)
		return &Registered{id, s}, err
	}
	id, err := c.create(ctx, subject, request)
	return &Registered{id, s}, err
}

// request describes a schema for the registry. What it refers to must be registered before it.
func (c *Client) request(ctx context.Context, subject string, s Schema, depth int) (sr.Schema, error) {
	if depth > referencesDepthMax {
		return sr.Schema{}, c.unavailable(true, &Error{
			Op: "register a schema", Subject: subject,
			Err: fmt.Errorf("references go deeper than %d schemas", referencesDepthMax),
		})
	}
	var refs []sr.SchemaReference
	for _, r := range s.References {
		if r.Subject == "" {
			r.Subject = r.Name
		}
		if r.Version == 0 {
			var err error
			if r.Version, err = c.version(ctx, r.Subject, r.Schema, depth+1); err != nil {
				return sr.Schema{}, err
			}
		}
		refs = append(refs, sr.SchemaReference{Name: r.Name, Subject: r.Subject, Version: r.Version})
	}
	return s.request(refs), nil
}

// version returns the version of a referred schema, which is registered if Config.Registration says so.
func (c *Client) version(ctx context.Context, subject string, s Schema, depth int) (int, error) {
	request, err := c.request(ctx, subject, s, depth)
	if err != nil {
		return 0, err
	}
	if c.cfg.Registration == Register {
		if _, err := c.create(ctx, subject, request); err != nil {
			return 0, err
		}
	}
	_, version, err := c.lookup(ctx, subject, request)
	return version, err
}

func (c *Client) create(ctx context.Context, subject string, s sr.Schema) (id int, err error) {
	err = c.call(ctx, Error{Op: "register a schema", Subject: subject},
		func(ctx context.Context, instance *sr.Client) (err error) {
			if id, err = instance.RegisterSchema(ctx, subject, s, -1, -1); err == nil && id < 1 {
				err = errNoID
			}
			return err
		})
	return id, c.demanded(err, "mend Config.URLs: registries answer this only for what does not exist")
}

func (c *Client) lookup(ctx context.Context, subject string, s sr.Schema) (id, version int, err error) {
	err = c.call(ctx, Error{Op: "look up a schema", Subject: subject},
		func(ctx context.Context, instance *sr.Client) error {
			found, err := instance.LookupSchema(ctx, subject, s)
			if id, version = found.ID, found.Version; err == nil && (id < 1 || version < 1) {
				err = errNoID
			}
			return err
		})
	return id, version, c.demanded(err, "register the schema under this subject, or set Config.Registration to Register")
}

func (c *Client) latest(ctx context.Context, subject string, t Type) (*Registered, error) {
	e := Error{Op: "look up the latest schema", Subject: subject}
	var answer sr.SubjectSchema
	err := c.call(ctx, e, func(ctx context.Context, instance *sr.Client) (err error) {
		if answer, err = instance.SchemaByVersion(ctx, subject, -1); err == nil && answer.ID < 1 {
			err = errNoID
		}
		return err
	})
	if err != nil {
		return nil, c.demanded(err, "register a schema under this subject, or set Config.Registration to Register")
	}
	s, err := c.complete(ctx, e, answer.Schema, 0)
	if err == nil && s.Type != t {
		e.Err = fmt.Errorf("it is of type %s, the serde writes %s", s.Type, t)
		e.Hint = "use another subject"
		err = &e
	}
	if err != nil {
		return nil, c.demanded(err, "")
	}
	return &Registered{answer.ID, s}, nil
}

// demanded turns "no such thing" into a refusal: without the schema's id nothing can be written, and no record is to
// blame for that.
func (c *Client) demanded(err error, hint string) error {
	e, ok := err.(*Error) //nolint:errorlint // an UnavailableError has one within
	if !ok {
		return err
	}
	if isMissing(err) {
		e.Hint = hint
	}
	return c.unavailable(true, e)
}

// errNoID is an answer of something that is no registry, or of one that is not well.
var errNoID = errors.New("the answer names no id")
