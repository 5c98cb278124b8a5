package avro_test

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/avro"
	"github.com/tidemarkio/tidemark/serde/registry"
)

type order struct {
	ID     string   `avro:"id"`
	Amount int64    `avro:"amount"`
	Note   *string  `avro:"note"`
	Tags   []string `avro:"tags"`
}

const orderSchema = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"},` +
	`{"name":"amount","type":"long"},{"name":"note","type":["null","string"],"default":null},` +
	`{"name":"tags","type":{"type":"array","items":"string"}}]}`

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

func check[T any](t *testing.T, s serde.Serde[T], v T, want string) {
	t.Helper()
	got, err := s.Append([]byte("prefix"), v)
	require.NoError(t, err)
	require.Equal(t, "prefix", string(got[:6]))
	require.Equal(t, want, hex.EncodeToString(got[6:]))
	back, err := s.Decode(got[6:])
	require.NoError(t, err)
	require.Equal(t, v, back)
}

// TestConfluentBytes compares with what Confluent's own serializer writes for the same schemas and values.
func TestConfluentBytes(t *testing.T) {
	f, c := start(t, registry.Lookup)
	f.SeedSchema("orders-value", 1, 2, sr.Schema{Schema: orderSchema})
	f.SeedSchema("orders-key", 1, 3, sr.Schema{Schema: `"string"`})
	f.SeedSchema("raw-value", 1, 4, sr.Schema{Schema: `"bytes"`})
	s := serde.Must(avro.New[order](c, registry.Value("orders"), avro.Schema(orderSchema)))
	note := "hi"
	check(t, s, order{ID: "o-1", Amount: -300, Note: &note, Tags: []string{"a", "b"}},
		"0000000002066f2d31d70402046869040261026200")
	check(t, s, order{Amount: 1 << 40, Tags: []string{}}, "0000000002008080808080400000")
	check(t, serde.Must(avro.New[string](c, registry.Key("orders"), avro.Schema(`"string"`))), "key", "0000000003066b6579")
	// Of plain bytes Confluent's serializer writes no length.
	raw := avro.Schema(`"bytes"`)
	check(t, serde.Must(avro.New[[]byte](c, registry.Value("raw"), raw)), []byte{7, 8}, "00000000040708")
	check(t, serde.Must(avro.New[string](c, registry.Value("raw"), raw)), "a", "000000000461")
	check(t, serde.Must(avro.New[any](c, registry.Value("raw"), raw)), any([]byte{7}), "000000000407")
}

func TestGenericRecord(t *testing.T) {
	_, c := start(t, registry.Register)
	s := serde.Must(avro.New[map[string]any](c, registry.Record(), avro.Schema(orderSchema)))
	require.Equal(t, "shop.Order", s.Subject())
	check(t, s, map[string]any{"id": "x", "amount": int64(1), "note": nil, "tags": []any{"t"}},
		"00000000010278020002027400")
}

func TestDerivedSchema(t *testing.T) {
	type line struct {
		SKU string `avro:"sku"`
	}
	type invoice struct {
		At    time.Time `avro:"at"`
		Lines []line    `avro:"lines"`
	}
	f, c := start(t, registry.Register)
	s := serde.Must(avro.New[invoice](c, registry.TopicRecord("invoices"), avro.Namespace("shop")))
	require.Equal(t, "invoices-shop.invoice", s.Subject())
	require.NoError(t, s.Register(t.Context()))
	got, ok := f.GetSchema(s.Subject(), 1)
	require.True(t, ok)
	require.JSONEq(t, `{"type":"record","name":"invoice","namespace":"shop","fields":[
		{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"lines","type":{"type":"array","items":{"type":"record","name":"line","namespace":"shop","fields":[
			{"name":"sku","type":"string"}]}}}]}`, got.Schema.Schema)
	check(t, s, invoice{At: time.UnixMilli(1000).UTC(), Lines: []line{{"a"}}}, "0000000001d00f02026100")
}

// Writers of other versions: fields added with a default, removed, renamed with an alias, promoted.
func TestEvolution(t *testing.T) {
	f, c := start(t, registry.Register)
	type writerV1 struct {
		ID  string `avro:"id"`
		Qty int32  `avro:"qty"`
		Old string `avro:"old"`
	}
	type readerV2 struct {
		ID    string `avro:"id"`
		Count int64  `avro:"count"`
		Note  string `avro:"note"`
	}
	v1 := `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"qty","type":"int"},
		{"name":"old","type":"string"}]}`
	v2 := `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},
		{"name":"count","type":"long","aliases":["qty"]},{"name":"note","type":"string","default":"none"}]}`
	writer := serde.Must(avro.New[writerV1](c, registry.Value("orders"), avro.Schema(v1)))
	reader := serde.Must(avro.New[readerV2](c, registry.Value("orders"), avro.Schema(v2)))
	data, err := writer.Append(nil, writerV1{ID: "o", Qty: 3, Old: "gone"})
	require.NoError(t, err)
	got, err := reader.Decode(data)
	require.NoError(t, err)
	require.Equal(t, readerV2{ID: "o", Count: 3, Note: "none"}, got)

	_, err = writer.Decode(must(reader.Append(nil, got)))
	require.ErrorContains(t, err, "avro: decode avro_test.writerV1")
	require.ErrorContains(t, err, "use the schema that a record was written with, schema id 2")
	var u *serde.UnavailableError
	require.NotErrorAs(t, err, &u, "the handler decides")

	f.SeedSchema("json-value", 1, 50, sr.Schema{Schema: `{}`, Type: sr.TypeJSON})
	_, err = reader.Decode([]byte{0, 0, 0, 0, 50})
	require.ErrorContains(t, err, "schema id 50: it is of type JSON, not AVRO")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestLatest(t *testing.T) {
	f, c := start(t, registry.Latest)
	f.SeedSchema("orders-value", 1, 8, sr.Schema{Schema: `{"type":"record","name":"Order","fields":[
		{"name":"amount","type":"long"},{"name":"id","type":"string"}]}`})
	type small struct {
		ID     string `avro:"id"`
		Amount int64  `avro:"amount"`
	}
	s := serde.Must(avro.New[small](c, registry.Value("orders"), avro.Schema(`{"type":"record","name":"Order","fields":[
		{"name":"id","type":"string"},{"name":"amount","type":"long"}]}`)))
	check(t, s, small{"x", 1}, "0000000008020278")

	f.SeedSchema("other-value", 1, 9, sr.Schema{Schema: `{"type":"record","name":"Order","fields":[
		{"name":"a","type":"nosuch"}]}`})
	s = serde.Must(avro.New[small](c, registry.Value("other")))
	out, err := s.Append([]byte("keep"), small{})
	u, ok := errors.AsType[*serde.UnavailableError](err)
	require.True(t, ok, "%v", err)
	require.True(t, u.Permanent, "a program that cannot write must not skip its records")
	require.Equal(t, "keep", string(out))
}

func TestReferences(t *testing.T) {
	_, c := start(t, registry.Register)
	money := registry.Reference{Name: "shop.Money", Subject: "money", Schema: registry.Schema{
		Text: `{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"cents","type":"long"}]}`,
	}}
	text := avro.Schema(`{"type":"record","name":"Item","namespace":"shop","fields":[{"name":"price","type":"Money"}]}`)
	_, err := avro.New[map[string]any](c, registry.Value("items"), text)
	require.ErrorContains(t, err, "Money")
	s := serde.Must(avro.New[map[string]any](c, registry.Value("items"), text, avro.References(money)))
	check(t, s, map[string]any{"price": map[string]any{"cents": int64(2)}}, "000000000204")
}

func TestMistakes(t *testing.T) {
	_, c := start(t, registry.Register)
	for want, err := range map[string]error{
		"avro: int: derive a schema (or give one with avro.Schema)": errorOf(avro.New[int](c, registry.Value("t"))),
		"avro: int: ":               errorOf(avro.New[int](c, registry.Value("t"), avro.Schema(`{`))),
		"use registry.Value(topic)": errorOf(avro.New[order](c, registry.Naming{})),
		"make it with registry.New": errorOf(avro.New[order](nil, registry.Value("t"))),
		`its reference "a"`: errorOf(avro.New[int](c, registry.Value("t"), avro.Schema(`"int"`),
			avro.References(registry.Reference{Name: "a"}))),
	} {
		require.ErrorContains(t, err, want)
	}
	s := serde.Must(avro.New[order](c, registry.Value("t"), avro.Schema(orderSchema)))
	for _, data := range []string{"", "\x01abcde", "{}"} {
		_, err := s.Decode([]byte(data))
		require.ErrorContains(t, err, "avro: decode avro_test.order: registry: want the byte 0")
	}
	good := must(s.Append(nil, order{ID: "a"}))
	_, err := s.Decode(append(good, 1))
	require.ErrorContains(t, err, "avro: decode avro_test.order, written with schema id 1: 1 byte(s) are left")
	for i := 5; i < len(good); i++ {
		_, err = s.Decode(good[:i])
		require.ErrorContains(t, err, "written with schema id 1")
	}
	g := serde.Must(avro.New[map[string]any](c, registry.Value("t"), avro.Schema(orderSchema)))
	out, err := g.Append([]byte("keep"), map[string]any{"id": 5})
	require.ErrorContains(t, err, `avro: encode map[string]interface {} for subject "t-value"`)
	require.Equal(t, "keep", string(out))
}

func errorOf[T any](_ T, err error) error { return err }

// A value must not share memory with the bytes that it was read from, which are overwritten.
func TestDecodedValuesAreCopies(t *testing.T) {
	_, c := start(t, registry.Register)
	s := serde.Must(avro.New[map[string]any](c, registry.Value("t"), avro.Schema(`{"type":"record","name":"R","fields":[
		{"name":"s","type":"string"},{"name":"b","type":"bytes"},
		{"name":"f","type":{"type":"fixed","name":"F","size":2}}]}`)))
	want := map[string]any{"s": "text", "b": []byte("bytes"), "f": []byte("fx")}
	data := must(s.Append(nil, want))
	got, err := s.Decode(data)
	require.NoError(t, err)
	clear(data)
	require.Equal(t, want, got)
}

func TestRegistryAway(t *testing.T) {
	f, _ := start(t, registry.Register)
	c, err := registry.New(registry.Config{URLs: []string{f.URL()}, Timeout: 500 * time.Millisecond})
	require.NoError(t, err)
	s := serde.Must(avro.New[order](c, registry.Value("t"), avro.Schema(orderSchema)))
	require.NoError(t, s.Register(t.Context()))
	data := must(s.Append(nil, order{ID: "a"}))
	f.Close()
	require.NoError(t, s.Register(t.Context()), "what is known needs no registry")
	_, err = s.Decode(data)
	require.Error(t, err, "nobody has asked for the id yet")
	var u *serde.UnavailableError
	require.ErrorAs(t, err, &u)
	require.False(t, u.Permanent)
	_, err = serde.Must(avro.New[order](c, registry.Value("u"))).Append(nil, order{})
	require.ErrorAs(t, err, &u)
}

func FuzzDecode(f *testing.F) {
	fake, c := start(f, registry.Register)
	fake.SeedSchema("orders-value", 1, 1, sr.Schema{Schema: orderSchema})
	s := serde.Must(avro.New[order](c, registry.Value("orders"), avro.Schema(orderSchema)))
	good, err := s.Append(nil, order{ID: "a", Tags: []string{"x"}})
	require.NoError(f, err)
	f.Add(good[5:])
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
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
