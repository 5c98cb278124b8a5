package topology_test

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func ExampleForeignKeyJoin() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		orders := topology.Table(b, "left", serde.String, serde.String) // values name the product
		products := topology.Table(b, "right", serde.String, serde.String)
		topology.ForeignKeyJoin(orders, products, func(order string) string { return order },
			func(_, product string) string { return product },
			serde.String, topology.Named("order-product"), topology.As("orders-with-products")).ToStream().To("out")
	},
		[3]string{"l", "order 1", "p7"},
		[3]string{"l", "order 2", "p7"},
		[3]string{"r", "p7", "tea"}, // all orders of the product get it
		[3]string{"l", "order 1", "p8"},
	))
	// Output:
	// 2 order 1 tea
	// 2 order 2 tea
	// 3 order 1 deleted
}

func ExampleForeignKeyJoinWithKey() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		lines := topology.Table(b, "left", serde.String, serde.String) // keys are order/product
		products := topology.Table(b, "right", serde.String, serde.String)
		topology.ForeignKeyJoinWithKey(lines, products, func(key, _ string) string {
			_, product, _ := strings.Cut(key, "/")
			return product
		}, func(pieces, product string) string { return pieces + " " + product }, serde.String,
			topology.Named("line-product")).ToStream().To("out")
	},
		[3]string{"r", "p7", "tea"},
		[3]string{"l", "1/p7", "3"},
	))
	// Output:
	// 1 1/p7 3 tea
}

func ExampleLeftForeignKeyJoin() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		orders := topology.Table(b, "left", serde.String, serde.String)
		products := topology.Table(b, "right", serde.String, serde.String)
		topology.LeftForeignKeyJoin(orders, products, func(order string) string { return order },
			func(order string, product topology.Optional[string]) string { return product.Or("unknown " + order) },
			serde.String, topology.Named("order-product")).ToStream().To("out")
	},
		[3]string{"l", "order 1", "p7"},
		[3]string{"r", "p7", "tea"},
		[3]string{"r", "p7", ""},
	))
	// Output:
	// 0 order 1 unknown p7
	// 1 order 1 tea
	// 2 order 1 unknown p7
}

func ExampleLeftForeignKeyJoinWithKey() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		lines := topology.Table(b, "left", serde.String, serde.String)
		products := topology.Table(b, "right", serde.String, serde.String)
		topology.LeftForeignKeyJoinWithKey(lines, products, func(key, _ string) string {
			_, product, _ := strings.Cut(key, "/")
			return product
		}, func(pieces string, product topology.Optional[string]) string {
			return pieces + " " + product.Or("of something")
		}, serde.String, topology.Named("line-product")).ToStream().To("out")
	},
		[3]string{"l", "1/p7", "3"},
		[3]string{"r", "p7", "tea"},
	))
	// Output:
	// 0 1/p7 3 of something
	// 1 1/p7 3 tea
}

// The right table's topic was written by a program that chooses partitions by the length of the key.
func ExampleWithOtherPartitioner() {
	fmt.Print(joinExample(func(b *topology.Builder) {
		orders := topology.Table(b, "left", serde.String, serde.String)
		products := topology.Table(b, "right", serde.String, serde.String)
		byLength := func(_, key string, partitions int32) int32 { return int32(len(key)) % partitions }
		topology.ForeignKeyJoin(orders, products, func(order string) string { return order },
			func(_, product string) string { return product },
			serde.String, topology.WithOtherPartitioner(byLength)).ToStream().To("out")
	},
		[3]string{"r", "p7", "tea"},
		[3]string{"l", "order 1", "p7"},
	))
	// Output:
	// 1 order 1 tea
}
