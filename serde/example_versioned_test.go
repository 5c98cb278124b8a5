package serde_test

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/serde"
)

// The first version of the format had one name, the second has two.
func ExampleVersioned() {
	type personV1 struct{ Name string }
	type person struct{ First, Last string }

	people, err := serde.Versioned(2, serde.JSON[person](),
		serde.Upgrade(1, serde.JSON[personV1](), func(p personV1) (person, error) {
			first, last, _ := strings.Cut(p.Name, " ")
			return person{First: first, Last: last}, nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := people.Decode([]byte("\x01" + `{"Name":"Ada Lovelace"}`)) // as the former program wrote it
	fmt.Println(p.Last, err)
	data, err := people.Append(nil, p)
	fmt.Printf("%q %v\n", data, err)
	// Output:
	// Lovelace <nil>
	// "\x02{\"First\":\"Ada\",\"Last\":\"Lovelace\"}" <nil>
}
