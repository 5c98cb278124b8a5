package tidemark_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// shop counts purchases by customer: in all, by minute and by visit, and keeps prices with their history.
func shop() *topology.Builder {
	b := topology.NewBuilder()
	purchases := topology.Stream(b, "purchases", serde.String, serde.String).GroupByKey()
	topology.Count(purchases, topology.As("by-customer"))
	topology.Count(topology.WindowedBy(purchases, topology.Tumbling(time.Minute)), topology.As("by-minute"),
		topology.Retention(time.Hour))
	topology.Count(topology.SessionWindowedBy(purchases, topology.Session(time.Minute)), topology.As("by-visit"),
		topology.Retention(time.Hour))
	topology.Table(b, "prices", serde.String, serde.String, topology.As("prices"), topology.Versioned(time.Hour))
	return b
}

// runShop runs an instance of the shop on an embedded broker and shows what fn prints when the records are processed.
func runShop(fn func(ctx context.Context, app *tidemark.App, address string) error) {
	err := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "purchases", "prices"))
		if err != nil {
			return err
		}
		defer cluster.Close()
		dir, err := os.MkdirTemp("", "example")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		app, err := tidemark.New(shop(), tidemark.Config{
			ApplicationID: "shop", Brokers: cluster.ListenAddrs(), StateDir: dir, CommitInterval: 10 * time.Millisecond,
			ApplicationServer: listener.Addr().String(), Workers: 1, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.Handle(tidemark.QueryPath, app.QueryHandler(nil))
		server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
		go func() { _ = server.Serve(listener) }()
		go func() { _ = app.Run(ctx) }()
		defer func() { _ = errors.Join(server.Close(), app.Close()) }()
		if err := sell(ctx, app, cluster.ListenAddrs()); err != nil {
			return err
		}
		return fn(ctx, app, listener.Addr().String())
	}()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stdout, err)
	}
}

// sell sends the records, and waits until the stores have them.
func sell(ctx context.Context, app *tidemark.App, brokers []string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	sent := tidemark.Position{}
	for _, r := range [][4]string{
		{"purchases", "ann", "pen", "1000"},
		{"purchases", "bob", "pen", "2000"},
		{"purchases", "ann", "ink", "61000"},
		{"purchases", "ann", "ink", "300000"},
		{"prices", "pen", "2.00", "1000"},
		{"prices", "pen", "2.50", "200000"},
	} {
		ms, err := strconv.ParseInt(r[3], 10, 64)
		if err != nil {
			return err
		}
		sold, err := client.ProduceSync(ctx, &kgo.Record{
			Topic: r[0], Key: []byte(r[1]), Value: []byte(r[2]), Timestamp: time.UnixMilli(ms),
		}).First()
		if err != nil {
			return err
		}
		sent[record.TopicPartition{Topic: r[0], Partition: sold.Partition}] = sold.Offset + 1
	}
	purchases, prices := tidemark.Position{}, tidemark.Position{}
	for tp, offset := range sent {
		if tp.Topic == "prices" {
			prices[tp] = offset
		} else {
			purchases[tp] = offset
		}
	}
	for _, err := range tidemark.Query[string, int64](app, "by-customer").AtLeast(purchases).All(ctx) {
		if err != nil {
			return err
		}
	}
	for _, err := range tidemark.QueryVersioned[string, string](app, "prices").AtLeast(prices).All(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// A value is read wherever its key lives, and comes with where that is.
func ExampleQuery() {
	runShop(func(ctx context.Context, app *tidemark.App, _ string) error {
		counts := tidemark.Query[string, int64](app, "by-customer")
		n, found, err := counts.Get(ctx, "ann")
		if err != nil {
			return err
		}
		fmt.Println("ann:", n, found)
		answer, err := counts.Ask(ctx, "bob")
		if err != nil {
			return err
		}
		fmt.Println("bob:", answer.Value, "at", answer.Timestamp, "from a standby:", answer.Standby)
		total, err := counts.Count(ctx)
		fmt.Println("customers:", total)
		return err
	})
	// Output:
	// ann: 3 true
	// bob: 1 at 2000 from a standby: false
	// customers: 2
}

// A process that is no instance asks over HTTP. It needs to know one instance, and the serdes of the store.
func ExampleQueryFrom() {
	runShop(func(ctx context.Context, _ *tidemark.App, address string) error {
		client, err := tidemark.NewQueryClient(tidemark.QueryClientConfig{Servers: []string{address}})
		if err != nil {
			return err
		}
		defer client.Close()
		for e, err := range tidemark.QueryFrom(client, "by-customer", serde.String, serde.Int64).Range(ctx, "a", "az") {
			if err != nil {
				return err
			}
			fmt.Println(e.Key, e.Value)
		}
		_, _, err = tidemark.QueryFrom(client, "by-customer", serde.String, serde.Int64).
			AtLeast(tidemark.Position{{Topic: "purchases", Partition: 0}: 1000, {Topic: "purchases", Partition: 1}: 1000}).
			RetryFor(50*time.Millisecond).Get(ctx, "ann")
		unavailable, ok := errors.AsType[*tidemark.UnavailableError](err)
		fmt.Println(ok && unavailable.Retriable)
		return nil
	})
	// Output:
	// ann 3
	// true
}

// The windows of a key by time.
func ExampleQueryWindow() {
	runShop(func(ctx context.Context, app *tidemark.App, _ string) error {
		windows, err := tidemark.QueryWindow[string, int64](app, "by-minute").FetchRange(ctx, "ann", 0, 120_000)
		for _, w := range windows {
			fmt.Println(w.Start, w.Value)
		}
		return err
	})
	// Output:
	// 0 1
	// 60000 1
}

// The sessions of a key.
func ExampleQuerySession() {
	runShop(func(ctx context.Context, app *tidemark.App, _ string) error {
		visits, err := tidemark.QuerySession[string, int64](app, "by-visit").FetchKey(ctx, "ann")
		for _, v := range visits {
			fmt.Println(v.Window.Start, v.Window.End, v.Value)
		}
		return err
	})
	// Output:
	// 1000 61000 2
	// 300000 300000 1
}

// What a value was at a time, and all that it has been.
func ExampleQueryVersioned() {
	runShop(func(ctx context.Context, app *tidemark.App, _ string) error {
		prices := tidemark.QueryVersioned[string, string](app, "prices")
		v, _, err := prices.GetAsOf(ctx, "pen", 100_000)
		if err != nil {
			return err
		}
		fmt.Println(v.Value, v.ValidFrom, v.ValidTo)
		history, err := prices.History(ctx, "pen", 0, 1_000_000)
		fmt.Println(len(history), "versions, the last one", history[len(history)-1].Value)
		return err
	})
	// Output:
	// 2.00 1000 200000
	// 2 versions, the last one 2.50
}

// Who has a key: an HTTP service may redirect there, for one.
func ExampleLocate() {
	runShop(func(ctx context.Context, app *tidemark.App, address string) error {
		where, err := tidemark.Locate(ctx, app, "by-customer", "ann")
		if err != nil {
			return err
		}
		fmt.Println(where.Active.Endpoint == address, len(where.Standbys))
		m, err := app.Metadata(ctx)
		fmt.Println(len(m.Instances), "instance with", len(m.Instances[0].Active), "tasks")
		return err
	})
	// Output:
	// true 0
	// 1 instance with 4 tasks
}

// The handler goes to a server of the program's own, behind whatever it asks of requests.
func ExampleApp_QueryHandler() {
	b := topology.NewBuilder()
	topology.Table(b, "prices", serde.String, serde.String, topology.As("prices"))
	app, err := tidemark.New(b, tidemark.Config{
		ApplicationID: "shop", Brokers: []string{"localhost:9092"}, StateDir: "/var/lib/shop",
		ApplicationServer: "10.0.0.7:8080", StandbyReplicas: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle(tidemark.QueryPath, app.QueryHandler(func(r *http.Request) error {
		if r.Header.Get("Authorization") != "Bearer "+os.Getenv("QUERY_TOKEN") {
			return errors.New("ask the operators of the shop for a token")
		}
		return nil
	}))
	fmt.Println(tidemark.QueryPath)
	// Output: /tidemark/query/
}
