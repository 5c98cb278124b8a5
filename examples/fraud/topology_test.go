package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
)

// The whole topology against the direct computation, with crashes, without a broker.
func TestFraud(t *testing.T) {
	l := newLoad(40, 3000)
	d := tidemarktest.New(t, Fraud())
	profiles := tidemarktest.Input(d, profilesTopic, serde.String, serde.JSON[Profile]())
	for _, user := range l.users {
		profiles.Pipe(user, l.profiles[user], 0)
	}
	transactions := tidemarktest.Input(d, transactionsTopic, serde.String, serde.JSON[Transaction]())
	for i, p := range l.payments {
		transactions.Pipe(p.user, p.Transaction, p.AtMs)
		switch {
		case i%250 == 249:
			d.Crash() // what was not committed is piped again by the driver
		case i%50 == 0:
			d.Commit()
		}
	}
	d.Commit()
	got := verdict{totals: make(map[string]Spending), alerts: make(map[string]int)}
	for _, r := range tidemarktest.Output(d, totalsTopic, serde.String, serde.JSON[Spending]()).ReadAll() {
		got.totals[r.Key] = r.Value
	}
	for _, r := range tidemarktest.Output(d, alertsTopic, serde.String, serde.JSON[Alert]()).ReadAll() {
		got.alerts[r.Value.Rule]++
	}
	want := l.judge()
	require.Equal(t, want, got)
	for _, rule := range []string{"often", "much", "abroad"} {
		require.Positive(t, want.alerts[rule], "the load must try rule %q", rule)
	}
}
