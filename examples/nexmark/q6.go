package main

import (
	"cmp"
	"slices"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Query 6, average selling price by seller: over the ten of his auctions that expire last.
//
//	SELECT seller, AVG(price) FROM (
//	  SELECT *, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY expires DESC) AS n FROM <query 9>
//	) WHERE n <= 10 GROUP BY seller
var q6 = Query{
	Name: "q6", What: "average selling price by seller", Table: true,
	Declare: func(b *topology.Builder, t Topics) {
		bySeller := topology.GroupTableBy(winningBids(b, t), func(_ int64, w Winner) (int64, Sale) {
			return w.Seller, Sale{w.Auction, w.Expires, w.Price}
		}, serde.Int64, serde.JSON[Sale]())
		newest := topology.AggregateTable(bySeller, func() []Sale { return []Sale{} }, addSale, removeSale,
			serde.JSON[[]Sale](), topology.As("newest-sales"))
		averages := topology.MapTableValuesWithKey(newest, func(seller int64, sales []Sale) SellerPrice {
			return SellerPrice{seller, averagePrice(sales)}
		}, serde.JSON[SellerPrice]())
		averages.ToStream().To(t.Results)
	},
	Expected: func(events []Event) (want []any) {
		sales := make(map[int64][]Sale)
		for _, w := range expectedWinners(events) {
			sales[w.Seller] = append(sales[w.Seller], Sale{w.Auction, w.Expires, w.Price})
		}
		for seller, all := range sales {
			slices.SortFunc(all, newerSale)
			sum, n := int64(0), min(10, len(all))
			for _, s := range all[:n] {
				sum += s.Price
			}
			want = append(want, SellerPrice{seller, sum / int64(n)})
		}
		return want
	},
}

// Sale is an auction with its highest bid.
type Sale struct {
	Auction int64 `json:"auction"`
	Expires int64 `json:"expires"`
	Price   int64 `json:"price"`
}

func newerSale(x, y Sale) int {
	return cmp.Or(cmp.Compare(y.Expires, x.Expires), cmp.Compare(y.Auction, x.Auction))
}

// addSale returns the ten newest. The others can be forgotten: a sale goes only to come back with another price, so
// that what is eleventh now never moves up.
func addSale(_ int64, sale Sale, sales []Sale) []Sale {
	all := append(slices.Clone(sales), sale)
	slices.SortFunc(all, newerSale)
	return all[:min(10, len(all))]
}

func removeSale(_ int64, sale Sale, sales []Sale) []Sale {
	return slices.DeleteFunc(slices.Clone(sales), func(s Sale) bool { return s.Auction == sale.Auction })
}

func averagePrice(sales []Sale) (average int64) {
	for _, s := range sales {
		average += s.Price
	}
	return average / int64(max(len(sales), 1))
}

// SellerPrice is a result of query 6; the average is in cents, rounded down.
type SellerPrice struct {
	Seller  int64 `json:"seller"`
	Average int64 `json:"average"`
}
