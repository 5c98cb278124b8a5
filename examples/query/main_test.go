package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark"
)

func TestWordsOverHTTP(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "lines"))
	require.NoError(t, err)
	defer cluster.Close()
	app, err := tidemark.New(WordCount(), tidemark.Config{
		ApplicationID: "query", Brokers: cluster.ListenAddrs(), StateDir: t.TempDir(), Workers: 2,
		CommitInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server := httptest.NewServer(Handler(app))
	defer server.Close()
	get := func(path string) (code int, body map[string]int64) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, http.NoBody)
		require.NoError(t, err)
		res, err := server.Client().Do(req)
		require.NoError(t, err)
		data, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		if res.StatusCode == http.StatusOK {
			require.NoError(t, json.Unmarshal(data, &body))
		}
		return res.StatusCode, body
	}
	code, _ := get("/words/to")
	require.Equal(t, http.StatusServiceUnavailable, code, "it does not run yet")

	go func() { _ = app.Run(ctx) }()
	defer func() { require.NoError(t, app.Close()) }()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	require.NoError(t, err)
	defer client.Close()
	line := &kgo.Record{Topic: "lines", Value: []byte("to be or not to be")}
	require.NoError(t, client.ProduceSync(ctx, line).FirstErr())
	require.Eventually(t, func() bool {
		_, all := get("/words")
		return all["to"] == 2 && all["be"] == 2 && all["or"] == 1 && all["not"] == 1
	}, time.Minute, 20*time.Millisecond)
	code, body := get("/words/to")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, map[string]int64{"to": 2}, body)
	code, _ = get("/words/nothing")
	require.Equal(t, http.StatusNotFound, code)
	_, body = get("/words?from=n&to=p")
	require.Equal(t, map[string]int64{"not": 1, "or": 1}, body)
}
