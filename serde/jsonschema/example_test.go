package jsonschema_test

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/tidemarkio/tidemark/serde/jsonschema"
	"github.com/tidemarkio/tidemark/serde/registry"
)

// What does not fit the schema is not written: the error goes to the handler for processing errors.
func Example() {
	type order struct {
		ID       string `json:"id"`
		Quantity int    `json:"quantity"`
	}

	fake := srfake.New() // in production: the URL of a registry
	defer fake.Close()
	client, err := registry.New(registry.Config{URLs: []string{fake.URL()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := jsonschema.New[order](client, registry.Value("orders"), jsonschema.Schema(`{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Order", "type": "object",
		"properties": {"id": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}},
		"required": ["id"]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	data, err := orders.Append(nil, order{ID: "o-1", Quantity: 2})
	fmt.Printf("%q %v\n", data, err)
	_, err = orders.Append(nil, order{ID: "o-2"})
	fmt.Println(err != nil)
	// Output:
	// "\x00\x00\x00\x00\x01{\"id\":\"o-1\",\"quantity\":2}" <nil>
	// true
}
