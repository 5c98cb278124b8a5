package avro_test

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/serde/avro"
	"github.com/tidemarkio/tidemark/serde/registry"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// The subject is given once, with the serde: the store and its changelog use the serde that the stream has.
func Example() {
	type click struct {
		Page string `avro:"page"`
	}

	fake := srfake.New() // in production: the URL of a registry
	defer fake.Close()
	client, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	clicks := serde.Must(avro.New[click](client, registry.Value("clicks")))

	b := topology.NewBuilder()
	in := topology.Stream(b, "clicks", serde.String, clicks)
	in.Filter(func(_ string, c click) bool { return strings.HasPrefix(c.Page, "/buy") }).To("purchases")

	d, err := tidemarktest.Open(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	tidemarktest.Input(d, "clicks", serde.String, clicks).Pipe("ann", click{Page: "/buy/7"}, 1000)
	for _, r := range tidemarktest.Output(d, "purchases", serde.String, serde.Bytes).ReadAll() {
		fmt.Printf("%s %q\n", r.Key, r.Value)
	}
	s, _ := fake.GetSchema("clicks-value", 1)
	fmt.Println(s.Subject, s.ID)
	// Output:
	// ann "\x00\x00\x00\x00\x01\f/buy/7"
	// clicks-value 1
}

// A reader with a newer schema reads what older writers wrote.
func ExampleSchema() {
	type person struct {
		Name string `avro:"name"`
		City string `avro:"city"`
	}

	fake := srfake.New()
	defer fake.Close()
	client, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	older, err := avro.New[map[string]any](client, registry.Value("people"), avro.Schema(`{
		"type": "record", "name": "Person", "fields": [{"name": "name", "type": "string"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	newer, err := avro.New[person](client, registry.Value("people"), avro.Schema(`{
		"type": "record", "name": "Person", "fields": [
			{"name": "name", "type": "string"}, {"name": "city", "type": "string", "default": "unknown"}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := older.Append(nil, map[string]any{"name": "Ann"})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := newer.Decode(data)
	fmt.Println(p, err)
	// Output: {Ann unknown} <nil>
}
