package topology_test

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// joinExample declares a join of the topics "left" and "right" with declare, pipes records of both, and returns what
// "out" got. A record is a topic's first letter, a key and a value; its time is its place.
func joinExample(declare func(b *topology.Builder), records ...[3]string) string {
	b := topology.NewBuilder()
	declare(b)
	d, err := tidemarktest.Open(b)
	if err != nil {
		return err.Error()
	}
	defer d.Close()
	var lines strings.Builder
	topics := map[string]string{"l": "left", "r": "right"}
	nullable := serde.Nullable(serde.String)
	out := tidemarktest.Output(d, "out", serde.String, nullable)
	for i, r := range records {
		value := &r[2]
		if *value == "" {
			value = nil // deletes the row
		}
		tidemarktest.Input(d, topics[r[0]], serde.String, nullable).Pipe(r[1], value, int64(i))
		for _, got := range out.ReadAll() {
			if got.Value == nil {
				fmt.Fprintln(&lines, got.Timestamp, got.Key, "deleted")
				continue
			}
			fmt.Fprintln(&lines, got.Timestamp, got.Key, *got.Value)
		}
	}
	return lines.String()
}

func ExampleJoinTable() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		orders := topology.Stream(b, "left", serde.String, serde.String) // by customer
		customers := topology.Table(b, "right", serde.String, serde.String)
		topology.JoinTable(orders, customers, func(order, customer string) string {
			return order + " for " + customer
		}, serde.String).To("out")
	},
		[3]string{"l", "c1", "tea"}, // nobody knows the customer yet
		[3]string{"r", "c1", "Ann"},
		[3]string{"l", "c1", "coffee"},
	))
	// Output:
	// 2 c1 coffee for Ann
}

func ExampleJoinTableWithKey() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		orders := topology.Stream(b, "left", serde.String, serde.String)
		customers := topology.Table(b, "right", serde.String, serde.String)
		topology.JoinTableWithKey(orders, customers, func(id, order, customer string) string {
			return order + " for " + customer + " (" + id + ")"
		}, serde.String).To("out")
	},
		[3]string{"r", "c1", "Ann"},
		[3]string{"l", "c1", "coffee"},
	))
	// Output:
	// 1 c1 coffee for Ann (c1)
}

func ExampleLeftJoinTable() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		orders := topology.Stream(b, "left", serde.String, serde.String)
		customers := topology.Table(b, "right", serde.String, serde.String)
		topology.LeftJoinTable(orders, customers, func(order string, customer topology.Optional[string]) string {
			return order + " for " + customer.Or("a stranger")
		}, serde.String).To("out")
	},
		[3]string{"l", "c1", "tea"},
		[3]string{"r", "c1", "Ann"},
		[3]string{"l", "c1", "coffee"},
	))
	// Output:
	// 0 c1 tea for a stranger
	// 2 c1 coffee for Ann
}

func ExampleLeftJoinTableWithKey() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		orders := topology.Stream(b, "left", serde.String, serde.String)
		customers := topology.Table(b, "right", serde.String, serde.String)
		topology.LeftJoinTableWithKey(orders, customers,
			func(id, order string, customer topology.Optional[string]) string {
				return order + " for " + customer.Or("customer "+id)
			}, serde.String).To("out")
	},
		[3]string{"l", "c1", "tea"},
	))
	// Output:
	// 0 c1 tea for customer c1
}

func ExampleJoinTables() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		prices := topology.Table(b, "left", serde.String, serde.String)
		stock := topology.Table(b, "right", serde.String, serde.String)
		topology.JoinTables(prices, stock, func(price, pieces string) string {
			return pieces + " at " + price
		}, serde.String, topology.As("offers")).ToStream().To("out")
	},
		[3]string{"l", "tea", "3.50"},
		[3]string{"r", "tea", "12"},
		[3]string{"l", "tea", "3.20"},
		[3]string{"r", "tea", ""},
	))
	// Output:
	// 1 tea 12 at 3.50
	// 2 tea 12 at 3.20
	// 3 tea deleted
}

func ExampleLeftJoinTables() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		prices := topology.Table(b, "left", serde.String, serde.String)
		stock := topology.Table(b, "right", serde.String, serde.String)
		topology.LeftJoinTables(prices, stock, func(price string, pieces topology.Optional[string]) string {
			return pieces.Or("none") + " at " + price
		}, serde.String).ToStream().To("out")
	},
		[3]string{"l", "tea", "3.50"},
		[3]string{"r", "tea", "12"},
		[3]string{"r", "tea", ""},
	))
	// Output:
	// 0 tea none at 3.50
	// 1 tea 12 at 3.50
	// 2 tea none at 3.50
}

func ExampleOuterJoinTables() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		mail := topology.Table(b, "left", serde.String, serde.String)
		phone := topology.Table(b, "right", serde.String, serde.String)
		topology.OuterJoinTables(mail, phone, func(mail, phone topology.Optional[string]) string {
			return mail.Or("no mail") + ", " + phone.Or("no phone")
		}, serde.String).ToStream().To("out")
	},
		[3]string{"r", "Ann", "12345"},
		[3]string{"l", "Ann", "ann@example.com"},
		[3]string{"r", "Ann", ""},
		[3]string{"l", "Ann", ""},
	))
	// Output:
	// 0 Ann no mail, 12345
	// 1 Ann ann@example.com, 12345
	// 2 Ann ann@example.com, no phone
	// 3 Ann deleted
}
