package schemaregistry_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tidemarkio/tidemark/integration/schemaregistry"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/avro"
	"github.com/tidemarkio/tidemark/serde/jsonschema"
	"github.com/tidemarkio/tidemark/serde/protobuf"
	"github.com/tidemarkio/tidemark/serde/registry"
)

// client returns a new client, which remembers nothing.
func client(t *testing.T, d *schemaregistry.Door, kind registry.Registration) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Config{
		URLs: []string{d.URL}, Registration: kind, RequestTimeout: time.Minute, Timeout: 2 * time.Minute, // a busy machine
	})
	require.NoError(t, err)
	return c
}

func roundTrip[T any](t *testing.T, write, read serde.Serde[T], v T) []byte {
	t.Helper()
	data, err := write.Append(nil, v)
	require.NoError(t, err)
	back, err := read.Decode(data)
	require.NoError(t, err)
	if m, ok := any(v).(proto.Message); ok {
		got, ok := any(back).(proto.Message)
		require.True(t, ok)
		require.True(t, proto.Equal(m, got))
		return data
	}
	require.Equal(t, v, back)
	return data
}

type order struct {
	ID     string `avro:"id" json:"id"`
	Amount int64  `avro:"amount" json:"amount"`
}

const (
	v1 = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"},
		{"name":"amount","type":"long"}]}`
	v2 = `{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"},
		{"name":"amount","type":"long"},{"name":"note","type":"string","default":"-"}]}`
)

// What one client registers another one finds, by id, by schema and as the latest.
func TestAvro(t *testing.T) {
	d := schemaregistry.Start(t)
	subject := registry.Value(t.Name())
	write := serde.Must(avro.New[order](client(t, d, registry.Register), subject, avro.Schema(v1)))
	reader := serde.Must(avro.New[order](client(t, d, registry.Lookup), subject, avro.Schema(v1)))
	data := roundTrip(t, write, reader, order{"o-1", 3})
	require.Equal(t, data, roundTrip(t, reader, write, order{"o-1", 3}), "looked up, the id is the same")
	before := d.Requests.Load()
	roundTrip(t, write, write, order{"o-2", 4})
	require.LessOrEqual(t, d.Requests.Load(), before+1, "the writer has not asked for its own schema yet")

	type orderV2 struct {
		ID     string `avro:"id"`
		Amount int64  `avro:"amount"`
		Note   string `avro:"note"`
	}
	newer := serde.Must(avro.New[orderV2](client(t, d, registry.Register), subject, avro.Schema(v2)))
	got, err := newer.Decode(data)
	require.NoError(t, err)
	require.Equal(t, orderV2{"o-1", 3, "-"}, got)
	require.NoError(t, newer.Register(t.Context()))
	latest := serde.Must(avro.New[orderV2](client(t, d, registry.Latest), subject, avro.Name("Order"),
		avro.Namespace("shop")))
	require.Equal(t, roundTrip(t, newer, latest, orderV2{"a", 1, "b"}), roundTrip(t, latest, newer, orderV2{"a", 1, "b"}))
	old, err := reader.Decode(roundTrip(t, latest, latest, orderV2{"o-3", 5, "c"}))
	require.NoError(t, err)
	require.Equal(t, order{"o-3", 5}, old)
}

func TestAvroReferences(t *testing.T) {
	d := schemaregistry.Start(t)
	money := registry.Reference{Name: "shop.Money", Subject: "money" + t.Name(), Schema: registry.Schema{
		Text: `{"type":"record","name":"Money","namespace":"shop","fields":[{"name":"cents","type":"long"}]}`,
	}}
	text := avro.Schema(`{"type":"record","name":"Item","namespace":"shop","fields":[
		{"name":"price","type":"shop.Money"}]}`)
	made := func(kind registry.Registration) serde.Serde[map[string]any] {
		return serde.Must(avro.New[map[string]any](client(t, d, kind), registry.Value(t.Name()), text,
			avro.References(money)))
	}
	v := map[string]any{"price": map[string]any{"cents": int64(250)}}
	require.Equal(t, roundTrip(t, made(registry.Register), made(registry.Register), v),
		roundTrip(t, made(registry.Latest), made(registry.Latest), v))
}

func TestProtobuf(t *testing.T) {
	d := schemaregistry.Start(t)
	subject := registry.Value(t.Name())
	write := serde.Must(protobuf.New[*durationpb.Duration](client(t, d, registry.Register), subject))
	found := serde.Must(protobuf.New[*durationpb.Duration](client(t, d, registry.Lookup), subject))
	latest := serde.Must(protobuf.New[*durationpb.Duration](client(t, d, registry.Latest), subject))
	v := &durationpb.Duration{Seconds: 7}
	data := roundTrip(t, write, found, v)
	require.Equal(t, data, roundTrip(t, found, write, v))
	require.Equal(t, data, roundTrip(t, latest, write, v))
}

// A file is registered after the file that it imports.
func TestProtobufImports(t *testing.T) {
	d := schemaregistry.Start(t)
	files := &protoregistry.Files{}
	add := func(f *descriptorpb.FileDescriptorProto) *dynamicpb.Message {
		fd, err := protodesc.NewFile(f, files)
		require.NoError(t, err)
		require.NoError(t, files.RegisterFile(fd))
		return dynamicpb.NewMessage(fd.Messages().Get(0))
	}
	optional := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
	add(&descriptorpb.FileDescriptorProto{
		Name: new("shop/money.proto"), Package: new("shop"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: new("Money"), Field: []*descriptorpb.FieldDescriptorProto{
			{
				Name: new("cents"), Number: new(int32(1)), Label: optional,
				Type: descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum(),
			},
		}}},
	})
	item := add(&descriptorpb.FileDescriptorProto{
		Name: new("shop/item.proto"), Package: new("shop"), Syntax: new("proto3"), Dependency: []string{"shop/money.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{Name: new("Item"), Field: []*descriptorpb.FieldDescriptorProto{
			{
				Name: new("price"), Number: new(int32(1)), TypeName: new(".shop.Money"), Label: optional,
				Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(),
			},
		}}},
	})
	made := func(kind registry.Registration) *protobuf.Serde[*dynamicpb.Message] {
		return serde.Must(protobuf.NewDynamic(client(t, d, kind), registry.Value(t.Name()), item.Descriptor()))
	}
	data := roundTrip(t, made(registry.Register), made(registry.Register), item)
	require.Equal(t, data, roundTrip(t, made(registry.Lookup), made(registry.Register), item))
}

func TestJSONSchema(t *testing.T) {
	d := schemaregistry.Start(t)
	subject := registry.Value(t.Name())
	write := serde.Must(jsonschema.New[order](client(t, d, registry.Register), subject))
	found := serde.Must(jsonschema.New[order](client(t, d, registry.Lookup), subject,
		jsonschema.Validate(jsonschema.OnWriteAndRead)))
	latest := serde.Must(jsonschema.New[order](client(t, d, registry.Latest), subject))
	data := roundTrip(t, write, found, order{"o-1", 3})
	require.Equal(t, data, roundTrip(t, found, write, order{"o-1", 3}))
	require.Equal(t, data, roundTrip(t, latest, write, order{"o-1", 3}))
}

// How a registry says no, and that the serdes understand it.
func TestRefusals(t *testing.T) {
	d := schemaregistry.Start(t)
	s := serde.Must(avro.New[order](client(t, d, registry.Lookup), registry.Value(t.Name()), avro.Schema(v1)))
	_, err := s.Append(nil, order{})
	var u *serde.UnavailableError
	require.ErrorAs(t, err, &u)
	require.True(t, u.Permanent, "%v", err)
	require.ErrorContains(t, err, "set Config.Registration to Register")

	_, err = s.Decode([]byte{0, 0x7f, 0, 0, 1, 2})
	var unknown *registry.Error
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, 2130706433, unknown.ID)
	require.NotErrorAs(t, err, new(*serde.UnavailableError), "%v", err)

	require.NoError(t, serde.Must(avro.New[order](client(t, d, registry.Register), registry.Value(t.Name()),
		avro.Schema(v1))).Register(t.Context()), "it was registered meanwhile")
	require.NoError(t, s.Register(t.Context()))

	other := serde.Must(jsonschema.New[order](client(t, d, registry.Latest), registry.Value(t.Name())))
	err = other.Register(t.Context())
	require.ErrorAs(t, err, &u)
	require.ErrorContains(t, err, "it is of type AVRO, the serde writes JSON")

	wrong, err := registry.New(registry.Config{URLs: []string{d.URL + "/nothing/here"}})
	require.NoError(t, err)
	err = serde.Must(avro.New[order](wrong, registry.Value(t.Name()))).Register(t.Context())
	require.ErrorAs(t, err, &u)
	require.True(t, u.Permanent, "%v", err)
	require.ErrorContains(t, err, "mend Config.URLs")
}

func TestDoor(t *testing.T) {
	d := schemaregistry.Start(t)
	c, err := registry.New(registry.Config{
		URLs: []string{d.URL}, Timeout: 100 * time.Millisecond, RetryBackoff: time.Millisecond,
	})
	require.NoError(t, err)
	s := serde.Must(avro.New[order](c, registry.Value(t.Name())))
	d.Close()
	err = s.Register(t.Context())
	var u *serde.UnavailableError
	require.ErrorAs(t, err, &u)
	require.False(t, u.Permanent)
}
