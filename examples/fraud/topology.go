package main

import (
	"time"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// Transaction is a payment by card; its key is the user.
type Transaction struct {
	Card    string `json:"card"`
	Cents   int64  `json:"cents"`
	Country string `json:"country"`
	AtMs    int64  `json:"at_ms"`
}

// Profile is what is known of a user.
type Profile struct {
	Home       string `json:"home"`
	LimitCents int64  `json:"limit_cents"` // within the window
}

// Spending is what a user paid within a window.
type Spending struct {
	Payments int64 `json:"payments"`
	Cents    int64 `json:"cents"`
	LastMs   int64 `json:"last_ms"` // of the last payment
}

// Alert is a suspicion; its key is the user.
type Alert struct {
	Rule  string `json:"rule"`
	Cents int64  `json:"cents"`
	AtMs  int64  `json:"at_ms"`
}

// The topics.
const (
	transactionsTopic = "transactions"
	profilesTopic     = "profiles"
	alertsTopic       = "alerts"
	totalsTopic       = "totals"
)

// The rules.
const (
	window      = 5 * time.Minute
	paymentsMax = 6      // within the window
	abroadMax   = 500_00 // cents in one payment
)

// Fraud raises an alert when a user pays more often, or more, within five minutes than is usual, or much at once far
// from home. It also keeps each user's total.
func Fraud() *topology.Builder {
	b := topology.NewBuilder()
	profiles := topology.Table(b, profilesTopic, serde.String, serde.JSON[Profile](), topology.As("profiles"))
	transactions := topology.Stream(b, transactionsTopic, serde.String, serde.JSON[Transaction]())

	windows := topology.Aggregate(
		topology.WindowedBy(transactions.GroupByKey(), topology.Sliding(window)), noSpending, spend,
		serde.JSON[Spending](), topology.As("recent"))
	// Of the windows that a payment changes, the one that ends with it holds the five minutes before it.
	recent := topology.Map(windows.ToStream().Filter(endsNow),
		func(w record.Windowed[string], s Spending) (string, Spending) { return w.Key, s }, serde.String, nil)
	topology.FlatMapValues(
		topology.JoinTable(recent, profiles, checkSpending, serde.JSON[[]Alert](), topology.Named("spending")),
		eachAlert, serde.JSON[Alert]()).To(alertsTopic)

	topology.FlatMapValues(
		topology.JoinTable(transactions, profiles, checkPayment, serde.JSON[[]Alert]()),
		eachAlert, serde.JSON[Alert]()).To(alertsTopic)

	topology.Aggregate(transactions.GroupByKey(), noSpending, spend, serde.JSON[Spending](), topology.As("totals")).
		ToStream().To(totalsTopic)
	return b
}

func noSpending() Spending { return Spending{} }

func spend(_ string, t Transaction, s Spending) Spending {
	return Spending{Payments: s.Payments + 1, Cents: s.Cents + t.Cents, LastMs: max(s.LastMs, t.AtMs)}
}

func endsNow(w record.Windowed[string], s Spending) bool { return w.Window.End == s.LastMs }

// checkSpending looks at five minutes of payments.
func checkSpending(s Spending, p Profile) (alerts []Alert) {
	if s.Payments > paymentsMax {
		alerts = append(alerts, Alert{Rule: "often", Cents: s.Cents, AtMs: s.LastMs})
	}
	if s.Cents > p.LimitCents {
		alerts = append(alerts, Alert{Rule: "much", Cents: s.Cents, AtMs: s.LastMs})
	}
	return alerts
}

// checkPayment looks at a single payment.
func checkPayment(t Transaction, p Profile) []Alert {
	if t.Country == p.Home || t.Cents <= abroadMax {
		return nil
	}
	return []Alert{{Rule: "abroad", Cents: t.Cents, AtMs: t.AtMs}}
}

func eachAlert(alerts []Alert) []Alert { return alerts }
