package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// payment is a transaction with its user.
type payment struct {
	user string
	Transaction
}

// load is what the example is fed with, the same in every run.
type load struct {
	users    []string
	profiles map[string]Profile
	payments []payment // in the order of time
}

func countries() []string { return []string{"PT", "FR", "IN", "BR", "JP"} }

// newLoad makes payments up: one now and then by each user, and bursts of a few whose card was stolen.
func newLoad(users, payments int) *load {
	r := rand.New(rand.NewPCG(42, 0))
	l := &load{profiles: make(map[string]Profile, users)}
	country := func() string { return countries()[r.IntN(len(countries()))] }
	for i := range users {
		user := fmt.Sprintf("user-%04d", i)
		l.users = append(l.users, user)
		l.profiles[user] = Profile{Home: country(), LimitCents: int64(300_00 + r.IntN(2000_00))}
	}
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC).UnixMilli()
	pay := func(user string, cents int64, country string) {
		now += 1 + r.Int64N(400)
		l.payments = append(l.payments, payment{user, Transaction{
			Card: "card-" + user[len("user-"):], Cents: cents, Country: country, AtMs: now,
		}})
	}
	for len(l.payments) < payments {
		user := l.users[r.IntN(users)]
		if r.IntN(200) > 0 {
			pay(user, 1_00+r.Int64N(90_00), l.profiles[user].Home)
			continue
		}
		abroad := country()
		for range 3 + r.IntN(6) { // a thief
			pay(user, 50_00+r.Int64N(900_00), abroad)
		}
	}
	l.payments = l.payments[:payments]
	return l
}

// verdict is what must come out.
type verdict struct {
	totals map[string]Spending
	alerts map[string]int // by rule
}

// judge computes it directly: for each payment, over all payments of its user in the five minutes before.
func (l *load) judge() verdict {
	v := verdict{totals: make(map[string]Spending), alerts: make(map[string]int)}
	recent := make(map[string][]payment)
	for _, p := range l.payments {
		v.totals[p.user] = spend(p.user, p.Transaction, v.totals[p.user])
		recent[p.user] = append(recent[p.user], p)
		all := recent[p.user]
		for all[0].AtMs < p.AtMs-window.Milliseconds() {
			all = all[1:]
		}
		recent[p.user] = all
		var within Spending
		for _, q := range all {
			within = spend(p.user, q.Transaction, within)
		}
		profile := l.profiles[p.user]
		for _, a := range append(checkSpending(within, profile), checkPayment(p.Transaction, profile)...) {
			v.alerts[a.Rule]++
		}
	}
	return v
}
