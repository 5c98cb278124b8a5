package jsonschema_test

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/jsonschema"
	"github.com/tidemarkio/tidemark/serde/registry"
)

type order struct {
	ID     string `json:"id"`
	Amount int64  `json:"amount,omitempty"`
}

const draft7 = `{"$schema":"http://json-schema.org/draft-07/schema#","title":"Order","type":"object","properties":` +
	`{"id":{"type":"string","minLength":1},"amount":{"type":"integer","maximum":1000}},"required":["id"]}`

func start(t testing.TB, kind registry.Registration) (*srfake.Registry, *registry.Client) {
	t.Helper()
	f := srfake.New()
	t.Cleanup(f.Close)
	c, err := registry.New(registry.Config{
		URLs: []string{f.URL()}, Registration: kind, Timeout: 10 * time.Second, RetryBackoff: time.Millisecond,
	})
	require.NoError(t, err)
	return f, c
}

// TestConfluentBytes compares with what Confluent's own serializer writes for the same schema and value.
func TestConfluentBytes(t *testing.T) {
	f, c := start(t, registry.Lookup)
	f.SeedSchema("j-value", 1, 4, sr.Schema{Schema: draft7, Type: sr.TypeJSON})
	s := serde.Must(jsonschema.New[order](c, registry.Value("j"), jsonschema.Schema(draft7)))
	got, err := s.Append([]byte("prefix"), order{ID: "o-1", Amount: 3})
	require.NoError(t, err)
	require.Equal(t, "prefix", string(got[:6]))
	require.Equal(t, "00000000047b226964223a226f2d31222c22616d6f756e74223a337d", hex.EncodeToString(got[6:]))
	back, err := s.Decode(got[6:])
	require.NoError(t, err)
	require.Equal(t, order{ID: "o-1", Amount: 3}, back)
}

func TestDerivedSchema(t *testing.T) {
	f, c := start(t, registry.Register)
	s := serde.Must(jsonschema.New[*order](c, registry.Record()))
	require.Equal(t, "order", s.Subject())
	require.NoError(t, s.Register(t.Context()))
	got, ok := f.GetSchema("order", 1)
	require.True(t, ok)
	require.Equal(t, sr.TypeJSON, got.Type)
	require.JSONEq(t, `{"$schema":"https://json-schema.org/draft/2020-12/schema","title":"order","type":["null","object"],
		"properties":{"id":{"type":"string"},"amount":{"type":"integer"}},"required":["id"],"additionalProperties":false}`,
		got.Schema.Schema)
	s = serde.Must(jsonschema.New[*order](c, registry.TopicRecord("orders"), jsonschema.Title("shop.Order")))
	require.Equal(t, "orders-shop.Order", s.Subject())
	data, err := s.Append(nil, &order{ID: "<a&b>"})
	require.NoError(t, err)
	require.Contains(t, string(data[5:]), "<a&b>", "without escapes, as Java's serializer")
}

func TestValidation(t *testing.T) {
	_, c := start(t, registry.Register)
	with := func(v jsonschema.Validation) serde.Serde[order] {
		return serde.Must(jsonschema.New[order](c, registry.Value("t"), jsonschema.Schema(draft7), jsonschema.Validate(v)))
	}
	bad := order{Amount: 1} // no id
	_, err := with(jsonschema.OnWrite).Append(nil, bad)
	require.ErrorContains(t, err, `encode jsonschema_test.order for subject "t-value": it does not fit the schema`)
	require.ErrorContains(t, err, "minLength")
	data, err := with(jsonschema.Never).Append(nil, bad)
	require.NoError(t, err)
	for _, v := range []jsonschema.Validation{jsonschema.Never, jsonschema.OnWrite} {
		got, err := with(v).Decode(data)
		require.NoError(t, err)
		require.Equal(t, bad, got)
	}
	strict := with(jsonschema.OnWriteAndRead)
	_, err = strict.Append(nil, bad)
	require.ErrorContains(t, err, "minLength")
	got, err := strict.Decode(data)
	require.ErrorContains(t, err, "jsonschema: decode jsonschema_test.order, written with schema id 1: it does not fit")
	require.Zero(t, got)
	for body, want := range map[string]string{
		`{"id":"a","more":[1]}`:    "",
		`{"id":"a","amount":1e3}`:  "json: cannot unmarshal number 1e3", // fits, but encoding/json wants digits
		`{"id":"a","amount":1001}`: "maximum",
		`{"amount":1}`:             "required",
		`{"id":"a"} {}`:            "invalid character '{' after top-level value",
		`{"id":"a"`:                "unexpected end of JSON input",
		``:                         "unexpected end of JSON input",
	} {
		_, err := strict.Decode(append(registry.AppendHeader(nil, 1), body...))
		if want == "" {
			require.NoError(t, err, body)
			continue
		}
		require.ErrorContains(t, err, want, body)
	}
}

func TestLatest(t *testing.T) {
	f, c := start(t, registry.Latest)
	f.SeedSchema("t-value", 1, 6, sr.Schema{
		Schema: `{"type":"object","properties":{"amount":{"type":"integer","minimum":10}}}`, Type: sr.TypeJSON,
	})
	s := serde.Must(jsonschema.New[order](c, registry.Value("t")))
	data, err := s.Append(nil, order{ID: "a", Amount: 10})
	require.NoError(t, err)
	require.Equal(t, byte(6), data[4])
	_, err = s.Append(nil, order{ID: "a", Amount: 9})
	require.ErrorContains(t, err, "minimum", "it must fit the schema that it is written under")

	f.SeedSchema("u-value", 1, 7, sr.Schema{Schema: `{"type":7}`, Type: sr.TypeJSON})
	out, err := serde.Must(jsonschema.New[order](c, registry.Value("u"))).Append([]byte("keep"), order{})
	u, ok := errors.AsType[*serde.UnavailableError](err)
	require.True(t, ok, "%v", err)
	require.True(t, u.Permanent)
	require.Equal(t, "keep", string(out))
}

func TestReferences(t *testing.T) {
	f, c := start(t, registry.Register)
	id := registry.Reference{Name: "id.json", Subject: "ids", Schema: registry.Schema{
		Type: registry.JSON, Text: `{"type":"string","pattern":"^o-"}`,
	}}
	text := jsonschema.Schema(`{"type":"object","properties":{"id":{"$ref":"id.json"}}}`)
	_, err := jsonschema.New[order](c, registry.Value("t"), text)
	require.ErrorContains(t, err, "which is not among its references: give it with jsonschema.References")
	s := serde.Must(jsonschema.New[order](c, registry.Value("t"), text, jsonschema.References(id)))
	_, err = s.Append(nil, order{ID: "o-1"})
	require.NoError(t, err)
	_, err = s.Append(nil, order{ID: "x"})
	require.ErrorContains(t, err, "pattern")
	require.True(t, f.SubjectExists("ids"))
}

func TestMistakes(t *testing.T) {
	_, c := start(t, registry.Register)
	_, err := jsonschema.New[func()](c, registry.Value("t"))
	require.ErrorContains(t, err, "jsonschema: func(): derive a schema (or give one with jsonschema.Schema)")
	_, err = jsonschema.New[order](c, registry.Value("t"), jsonschema.Schema(`{`))
	require.ErrorContains(t, err, "the schema is not a JSON schema")
	_, err = jsonschema.New[order](c, registry.Value("t"), jsonschema.Validate(7))
	require.ErrorContains(t, err, "validation 7: want OnWrite, OnWriteAndRead or Never")
	_, err = jsonschema.New[order](c, registry.Record(), jsonschema.Schema(`{"type":"object"}`))
	require.ErrorContains(t, err, "the schema has no name")
	_, err = jsonschema.New[order](nil, registry.Value("t"))
	require.ErrorContains(t, err, "make it with registry.New")

	s := serde.Must(jsonschema.New[any](c, registry.Value("t"), jsonschema.Schema(`true`)))
	out, err := s.Append([]byte("keep"), func() {})
	require.ErrorContains(t, err, `for subject "t-value": json: unsupported type`)
	require.Equal(t, "keep", string(out))
	_, err = s.Decode([]byte(`{"a":1}`))
	require.ErrorContains(t, err, "was it written by another serde?")
}

func FuzzDecode(f *testing.F) {
	_, c := start(f, registry.Register)
	s := serde.Must(jsonschema.New[order](c, registry.Value("t"), jsonschema.Schema(draft7),
		jsonschema.Validate(jsonschema.OnWriteAndRead)))
	f.Add([]byte(`{"id":"a","amount":1}`))
	f.Add([]byte(`{"id":"a","amount":1e400}`))
	f.Add([]byte(`{"id":"a","amount":1e999999999}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		v, err := s.Decode(append(registry.AppendHeader(nil, 1), body...))
		if err != nil {
			return
		}
		again, err := s.Append(nil, v)
		require.NoError(t, err)
		back, err := s.Decode(again)
		require.NoError(t, err)
		require.Equal(t, v, back)
	})
}
