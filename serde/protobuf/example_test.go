package protobuf_test

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/sr/srfake"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tidemarkio/tidemark/serde/protobuf"
	"github.com/tidemarkio/tidemark/serde/registry"
)

// Any generated message will do; this one comes with the Protobuf library.
func Example() {
	fake := srfake.New() // in production: the URL of a registry
	defer fake.Close()
	client, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	durations, err := protobuf.New[*durationpb.Duration](client, registry.Value("durations"))
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := durations.Append(nil, &durationpb.Duration{Seconds: 90})
	fmt.Printf("%x %v\n", data, err)
	v, err := durations.Decode(data)
	fmt.Println(v.AsDuration(), err)
	// Output:
	// 000000000100085a <nil>
	// 1m30s <nil>
}
