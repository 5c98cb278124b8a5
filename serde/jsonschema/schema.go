package jsonschema

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"sync/atomic"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/tidemarkio/tidemark/serde/registry"
)

// base is what relative references are resolved against. It names no host: nothing is ever loaded from one.
const base = "registry:///schema"

// compiled is a schema that values can be checked against.
type compiled struct {
	text     string
	title    string
	resolved *jsonschema.Resolved
}

// latest is the schema that was registered, compiled once.
type latest struct{ of atomic.Pointer[compiledAs] }

type compiledAs struct {
	id     int
	schema *compiled
}

// get returns the schema to check against: the serde's own, unless the registry's latest is another one.
func (l *latest) get(r *registry.Registered, own *compiled) (*compiled, error) {
	if have := l.of.Load(); have != nil && have.id == r.ID {
		return have.schema, nil
	}
	schema, err := own, error(nil)
	if r.Schema.Text != own.text {
		schema, err = compile(r.Schema)
	}
	if err != nil {
		return nil, fmt.Errorf("the latest schema, id %d: %w", r.ID, err)
	}
	l.of.Store(&compiledAs{r.ID, schema})
	return schema, nil
}

// derive returns the schema of T as text.
func derive[T any](title string) (string, error) {
	s, err := jsonschema.For[T](nil)
	if err != nil {
		return "", err
	}
	if title == "" {
		t := reflect.TypeFor[T]()
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		title = t.Name()
	}
	s.Schema, s.Title = "https://json-schema.org/draft/2020-12/schema", title
	data, err := json.Marshal(s)
	return string(data), err
}

// compile compiles a schema with those that it refers to.
func compile(s registry.Schema) (*compiled, error) {
	root, err := parse(s.Text)
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	collect(s.References, known, 0)
	resolved, err := root.Resolve(&jsonschema.ResolveOptions{
		BaseURI: base,
		Loader: func(uri *url.URL) (*jsonschema.Schema, error) {
			text, ok := known[uri.String()]
			if !ok {
				return nil, fmt.Errorf("the schema refers to %s, which is not among its references: give it with "+
					"jsonschema.References", uri)
			}
			return parse(text)
		},
	})
	if err != nil {
		return nil, err
	}
	return &compiled{s.Text, root.Title, resolved}, nil
}

// collect notes references by the URI that the $ref of their name resolves to.
func collect(refs []registry.Reference, known map[string]string, depth int) {
	const depthMax = 32 // as deep as a registry's answer may be
	from, err := url.Parse(base)
	if err != nil || depth > depthMax {
		return
	}
	for _, r := range refs {
		if at, err := from.Parse(r.Name); err == nil {
			known[at.String()] = r.Schema.Text
		}
		collect(r.Schema.References, known, depth+1)
	}
}

func parse(text string) (*jsonschema.Schema, error) {
	var s jsonschema.Schema
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return nil, fmt.Errorf("the schema is not a JSON schema: %w", err)
	}
	return &s, nil
}

// check says how a document does not fit. Numbers are compared as float64, on both sides: the schema's are, too.
func (c *compiled) check(document []byte) error {
	var v any
	if err := json.Unmarshal(document, &v); err != nil {
		return err
	}
	if err := c.resolved.Validate(v); err != nil {
		return fmt.Errorf("it does not fit the schema: %w", err)
	}
	return nil
}
