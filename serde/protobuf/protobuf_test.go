package protobuf_test

import (
	"encoding/base64"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/protobuf"
	"github.com/tidemarkio/tidemark/serde/registry"
)

func start(t testing.TB) (*srfake.Registry, *registry.Client) {
	t.Helper()
	f := srfake.New()
	t.Cleanup(f.Close)
	c, err := registry.New(registry.Config{
		URLs: []string{f.URL()}, Timeout: 10 * time.Second, RetryBackoff: time.Millisecond,
	})
	require.NoError(t, err)
	return f, c
}

// check compares with what Confluent's own serializer writes behind the id.
func check[T proto.Message](t *testing.T, v T, want string) {
	t.Helper()
	_, c := start(t)
	s, err := protobuf.New[T](c, registry.Value("t"))
	require.NoError(t, err)
	got, err := s.Append([]byte("prefix"), v)
	require.NoError(t, err)
	require.Equal(t, "prefix", string(got[:6]))
	require.Equal(t, "0000000001"+want, hex.EncodeToString(got[6:]))
	back, err := s.Decode(got[6:])
	require.NoError(t, err)
	require.True(t, proto.Equal(v, back), "%v", back)
}

func TestConfluentBytes(t *testing.T) {
	check(t, &timestamppb.Timestamp{Seconds: 5}, "000805")
	check(t, wrapperspb.String("x"), "020e0a0178")
	check(t, structpb.NewNumberValue(1), "020211000000000000f03f")
	check(t, &descriptorpb.DescriptorProto_ExtensionRange{Start: proto.Int32(1), End: proto.Int32(2)}, "04040008011002")
	check(t, &descriptorpb.EnumDescriptorProto_EnumReservedRange{Start: proto.Int32(1), End: proto.Int32(2)},
		"040c0008011002")
}

// file links a file of one message from its description.
func file(
	t testing.TB, files *protoregistry.Files, path string, deps []string, fields ...*descriptorpb.FieldDescriptorProto,
) protoreflect.MessageDescriptor {
	t.Helper()
	d, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new(path), Package: new("shop"), Syntax: new("proto3"), Dependency: deps,
		MessageType: []*descriptorpb.DescriptorProto{{Name: new(name(path)), Field: fields}},
	}, files)
	require.NoError(t, err)
	require.NoError(t, files.RegisterFile(d))
	return d.Messages().Get(0)
}

// name is the message of a file: Order of shop/Order.proto and of shop/v2/Order.proto.
func name(path string) string {
	base := path[:len(path)-len(".proto")]
	for i := len(base) - 1; i >= 0; i-- {
		if base[i] == '/' {
			return base[i+1:]
		}
	}
	return base
}

func field(number int32, name string, kind descriptorpb.FieldDescriptorProto_Type, of string,
) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{
		Name: new(name), Number: new(number), Type: kind.Enum(),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	if of != "" {
		f.TypeName = new(of)
	}
	return f
}

const (
	kindString  = descriptorpb.FieldDescriptorProto_TYPE_STRING
	kindInt64   = descriptorpb.FieldDescriptorProto_TYPE_INT64
	kindMessage = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
)

// wellKnown is a registry of files that has what every registry of schemas has, too.
func wellKnown(t testing.TB) *protoregistry.Files {
	t.Helper()
	files := &protoregistry.Files{}
	require.NoError(t, files.RegisterFile(timestamppb.File_google_protobuf_timestamp_proto))
	return files
}

// A file is registered after what it imports; what registries have built in is left out.
func TestImports(t *testing.T) {
	f, c := start(t)
	files := wellKnown(t)
	file(t, files, "shop/Money.proto", nil, field(1, "cents", kindInt64, ""))
	file(t, files, "shop/Line.proto", []string{"shop/Money.proto"}, field(1, "price", kindMessage, ".shop.Money"))
	order := file(t, files, "shop/Order.proto", []string{"shop/Line.proto", "google/protobuf/timestamp.proto"},
		field(1, "line", kindMessage, ".shop.Line"), field(2, "at", kindMessage, ".google.protobuf.Timestamp"))
	s := serde.Must(protobuf.NewDynamic(c, registry.Record(), order))
	require.Equal(t, "shop.Order", s.Subject())
	require.NoError(t, s.Register(t.Context()))
	got, ok := f.GetSchema("shop.Order", 1)
	require.True(t, ok)
	require.Len(t, got.References, 1)
	require.Equal(t, "shop/Line.proto", got.References[0].Name)
	require.Equal(t, "shop/Line.proto", got.References[0].Subject)
	line, ok := f.GetSchema("shop/Line.proto", 1)
	require.True(t, ok)
	require.Equal(t, "shop/Money.proto", line.References[0].Name)
	require.False(t, f.SubjectExists("google/protobuf/timestamp.proto"))

	data, err := base64.StdEncoding.DecodeString(got.Schema.Schema)
	require.NoError(t, err)
	var d descriptorpb.FileDescriptorProto
	require.NoError(t, proto.Unmarshal(data, &d))
	require.True(t, proto.Equal(protodesc.ToFileDescriptorProto(order.ParentFile()), &d))

	m := dynamicpb.NewMessage(order)
	bytes, err := s.Append(nil, m)
	require.NoError(t, err)
	back, err := s.Decode(bytes)
	require.NoError(t, err)
	require.True(t, proto.Equal(m, back))
}

// A newer writer's fields are kept by an older reader, and written again.
func TestEvolution(t *testing.T) {
	_, c := start(t)
	older := file(t, wellKnown(t), "shop/Order.proto", nil, field(1, "id", kindString, ""))
	newer := file(t, wellKnown(t), "shop/v2/Order.proto", nil,
		field(1, "id", kindString, ""), field(2, "n", kindInt64, ""))
	v1 := serde.Must(protobuf.NewDynamic(c, registry.Value("orders"), older))
	v2 := serde.Must(protobuf.NewDynamic(c, registry.Value("orders"), newer))
	m := dynamicpb.NewMessage(newer)
	m.Set(newer.Fields().ByName("id"), protoreflect.ValueOfString("o"))
	m.Set(newer.Fields().ByName("n"), protoreflect.ValueOfInt64(7))
	data, err := v2.Append(nil, m)
	require.NoError(t, err)
	old, err := v1.Decode(data)
	require.NoError(t, err)
	require.Equal(t, "o", old.Get(older.Fields().ByName("id")).String())
	data, err = v1.Append(nil, old)
	require.NoError(t, err)
	again, err := v2.Decode(data)
	require.NoError(t, err)
	require.True(t, proto.Equal(m, again))
}

func TestMapsAreInOrder(t *testing.T) {
	_, c := start(t)
	s := serde.Must(protobuf.New[*structpb.Struct](c, registry.Value("t")))
	m, err := structpb.NewStruct(map[string]any{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
	require.NoError(t, err)
	first, err := s.Append(nil, m)
	require.NoError(t, err)
	for range 20 {
		again, err := s.Append(nil, m)
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
}

func TestMistakes(t *testing.T) {
	f, c := start(t)
	_, err := protobuf.New[proto.Message](c, registry.Value("t"))
	require.EqualError(t, err, "protobuf: protoreflect.ProtoMessage does not tell which message it is: use a generated "+
		"message type, or protobuf.NewDynamic")
	_, err = protobuf.New[*dynamicpb.Message](c, registry.Value("t"))
	require.ErrorContains(t, err, "does not tell which message it is")
	_, err = protobuf.NewDynamic(c, registry.Value("t"), nil)
	require.EqualError(t, err, "protobuf: the descriptor is nil")
	_, err = protobuf.New[*timestamppb.Timestamp](c, registry.Naming{})
	require.ErrorContains(t, err, "protobuf: google.protobuf.Timestamp: registry: no subject")
	_, err = protobuf.New[*timestamppb.Timestamp](nil, registry.Value("t"))
	require.ErrorContains(t, err, "make it with registry.New")

	s := serde.Must(protobuf.New[*timestamppb.Timestamp](c, registry.Value("t")))
	out, err := s.Append([]byte("keep"), nil)
	require.ErrorContains(t, err, "encode google.protobuf.Timestamp: the message is nil")
	require.Equal(t, "keep", string(out))
	for data, want := range map[string]string{
		"":               "registry: want the byte 0",
		"0000000001":     "registry: want the path of a Protobuf message",
		"000000000104":   "ends early",
		"000000000100ff": "protobuf: decode google.protobuf.Timestamp, written with schema id 1: proto:",
	} {
		raw, err := hex.DecodeString(data)
		require.NoError(t, err)
		v, err := s.Decode(raw)
		require.ErrorContains(t, err, want)
		require.Nil(t, v)
	}
	other := file(t, wellKnown(t), "shop/Order.proto", nil)
	d := serde.Must(protobuf.NewDynamic(c, registry.Value("t"), (&timestamppb.Timestamp{}).ProtoReflect().Descriptor()))
	_, err = d.Append(nil, dynamicpb.NewMessage(other))
	require.ErrorContains(t, err, "got a message of type shop.Order")
	bad := serde.Must(protobuf.New[*wrapperspb.StringValue](c, registry.Value("s")))
	_, err = bad.Append(nil, wrapperspb.String("\xff"))
	require.ErrorContains(t, err, `protobuf: encode google.protobuf.StringValue for subject "s-value"`)

	f.Close()
	var u *serde.UnavailableError
	c, err = registry.New(registry.Config{URLs: []string{f.URL()}, Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	_, err = serde.Must(protobuf.New[*timestamppb.Timestamp](c, registry.Value("u"))).Append(nil, &timestamppb.Timestamp{})
	require.ErrorAs(t, err, &u)
	v, err := s.Decode([]byte{0, 0, 0, 0, 9, 0, 8, 5})
	require.NoError(t, err, "reading needs no registry")
	require.Equal(t, int64(5), v.Seconds)
}

func FuzzDecode(f *testing.F) {
	_, c := start(f)
	s := serde.Must(protobuf.New[*structpb.Value](c, registry.Value("t")))
	good, err := s.Append(nil, structpb.NewNumberValue(1))
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte{0, 0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := s.Decode(data)
		if err != nil {
			return
		}
		again, err := s.Append(nil, v)
		require.NoError(t, err)
		_, err = s.Decode(again)
		require.NoError(t, err)
	})
}
