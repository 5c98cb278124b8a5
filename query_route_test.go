package tidemark

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/internal/clock"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
)

// fakeInstance answers as a script says, and notes what it was asked.
type fakeInstance struct {
	*httptest.Server

	mu     sync.Mutex
	script []func(w http.ResponseWriter, q ask) // the last one is for ever
	asked  []ask
}

func newFakeInstance(t *testing.T, script ...func(http.ResponseWriter, ask)) *fakeInstance {
	t.Helper()
	f := &fakeInstance{script: script}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeInstance) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	questions := make([]ask, 1)
	rows := r.URL.Path == queryAsksPath
	switch {
	case err != nil:
	case rows:
		questions, err = decodeAsks(body)
	default:
		questions[0], err = decodeAsk(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", queryContentType)
	for i, q := range questions {
		f.mu.Lock()
		f.asked = append(f.asked, q)
		step := f.script[min(len(f.asked), len(f.script))-1]
		f.mu.Unlock()
		if rows {
			step(&numbers{ResponseWriter: w, i: uint64(i)}, q)
		} else {
			step(w, q)
		}
	}
}

// numbers puts the number of its question before an answer.
type numbers struct {
	http.ResponseWriter

	i     uint64
	begun bool
}

func (n *numbers) Write(p []byte) (int, error) {
	if !n.begun && n.Header().Get("Content-Type") == queryContentType {
		n.begun = true
		if _, err := n.ResponseWriter.Write(binary.AppendUvarint(nil, n.i)); err != nil {
			return 0, err
		}
	}
	return n.ResponseWriter.Write(p)
}

func (n *numbers) Unwrap() http.ResponseWriter { return n.ResponseWriter }

func (f *fakeInstance) endpoint() string { return strings.TrimPrefix(f.URL, "http://") }

func (f *fakeInstance) times() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func says(pages ...reply) func(http.ResponseWriter, ask) {
	return func(w http.ResponseWriter, _ ask) {
		for i := range pages {
			_, _ = w.Write(appendPage(nil, &pages[i]))
		}
	}
}

func refuses(code refusalCode) func(http.ResponseWriter, ask) {
	return func(w http.ResponseWriter, _ ask) {
		_, _ = w.Write(appendRefusal(nil, refuse(code, Running, "refused with %d", code)))
	}
}

func onePage(next string, keys ...string) reply {
	p := reply{page: store.Page{Count: int64(len(keys))}}
	if next != "" {
		p.page.Next = []byte(next)
	}
	for _, k := range keys {
		p.page.Rows = append(p.page.Rows, store.Row{Key: []byte(k), Value: []byte("v-" + k)})
	}
	return p
}

// clientOf makes a client of instances, for each look at the cluster in turn: owner and standbys of partition 0.
func clientOf(t *testing.T, looks ...[]*fakeInstance) *QueryClient {
	t.Helper()
	c, err := NewQueryClient(QueryClientConfig{Servers: []string{"nowhere:1"}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	look := 0
	now := time.Unix(1000, 0)
	tick := clock.Fixed(func() time.Time { now = now.Add(clusterAgeMin); return now })
	c.router.cluster = newClusterCache(tick, func(context.Context) (*cluster, error) {
		at := looks[min(look, len(looks)-1)]
		look++
		if at == nil {
			return nil, errRebalancing
		}
		m := Metadata{Stores: []StoreMetadata{{Name: "s", Type: store.TypeKeyValue, Partitions: 1}}}
		for i, f := range at {
			of := InstanceMetadata{Endpoint: f.endpoint()}
			if i == 0 {
				of.Active = []record.TaskID{{}}
			} else {
				of.Standby = []record.TaskID{{}}
			}
			m.Instances = append(m.Instances, of)
		}
		return newCluster(m), nil
	})
	c.router.clock = tick
	c.router.remote.clock, c.router.remote.avoid.clock = tick, tick
	return c
}

func readerOf(c *QueryClient) *Reader[string, string] {
	return QueryFrom(c, "s", serde.String, serde.String)
}

func keysOf(t *testing.T, r *Reader[string, string]) (keys []string) {
	t.Helper()
	for e, err := range r.All(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, "v-"+e.Key, e.Value)
		keys = append(keys, e.Key)
	}
	return keys
}

func TestQueryFollowsATaskThatMoves(t *testing.T) {
	t.Parallel()
	before, after := newFakeInstance(t, refuses(refusedElsewhere)), newFakeInstance(t, says(onePage("", "k")))
	c := clientOf(t, nil, []*fakeInstance{before}, []*fakeInstance{after})
	a, err := readerOf(c).Ask(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, "v-k", a.Value)
	require.Equal(t, after.endpoint(), a.Instance)
	require.Equal(t, 1, before.times())
	_, _, err = readerOf(c).Get(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, 1, before.times(), "what was found out is remembered")
}

func TestScanGoesOnBehindThePagesItHas(t *testing.T) {
	t.Parallel()
	cutOff := func(w http.ResponseWriter, _ ask) {
		second := onePage("d", "c", "d")
		bytes := appendPage(nil, &second)
		_, _ = w.Write(append(appendPage(nil, &[]reply{onePage("b", "a", "b")}[0]), bytes[:len(bytes)-1]...))
	}
	f := newFakeInstance(t, cutOff, says(onePage("c", "c")), refuses(refusedBusy), says(onePage("")))
	c := clientOf(t, []*fakeInstance{f})
	require.Equal(t, []string{"a", "b", "c"}, keysOf(t, readerOf(c)))
	var after []string
	for _, q := range f.asked {
		after = append(after, string(q.question.After))
	}
	require.Equal(t, []string{"", "b", "c", "c"}, after)
}

func TestQueryOfStandbys(t *testing.T) {
	t.Parallel()
	late := onePage("", "k")
	late.info = QueryInfo{Standby: true, Lag: 5, Age: time.Second}
	owner := newFakeInstance(t, refuses(refusedElsewhere))
	far, near := newFakeInstance(t, refuses(refusedStale)), newFakeInstance(t, says(late))
	c := clientOf(t, []*fakeInstance{owner, far, near})
	a, err := readerOf(c).Stale(StaleBound{MaxLag: 9, MaxAge: time.Minute}).Ask(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, QueryInfo{Instance: near.endpoint(), Standby: true, Lag: 5, Age: time.Second}, a.QueryInfo)
	require.Equal(t, &StaleBound{MaxLag: 9, MaxAge: time.Minute}, far.asked[0].stale)
	_, err = readerOf(c).RetryFor(20*time.Millisecond).Ask(t.Context(), "k")
	var unavailable *UnavailableError
	require.ErrorAs(t, err, &unavailable, "only the owner may answer")
	require.Equal(t, 1, near.times())
}

func TestQueryWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	status := func(code int) func(http.ResponseWriter, ask) {
		return func(w http.ResponseWriter, _ ask) { http.Error(w, "sorry", code) }
	}
	foreign := func(w http.ResponseWriter, _ ask) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<html>")
	}
	for name, test := range map[string]struct {
		script    func(http.ResponseWriter, ask)
		retriable bool
		text      string
	}{
		"elsewhere":    {refuses(refusedElsewhere), true, "refused with 1"},
		"zombie":       {refuses(refusedUnconfirmed), true, "refused with 2"},
		"behind":       {refuses(refusedBehind), true, "refused with 3"},
		"busy":         {refuses(refusedBusy), true, "refused with 5"},
		"failed":       {refuses(refusedFailed), false, "refused with 7"},
		"forbidden":    {status(http.StatusForbidden), false, "403 Forbidden: sorry"},
		"proxy":        {status(http.StatusBadGateway), true, "502 Bad Gateway: sorry"},
		"not mounted":  {status(http.StatusNotFound), true, "is App.QueryHandler mounted"},
		"another page": {foreign, true, "text/html"},
		"nothing":      {func(http.ResponseWriter, ask) {}, true, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clientOf(t, []*fakeInstance{newFakeInstance(t, test.script)})
			patience := 100 * time.Millisecond
			if !test.retriable {
				patience = time.Minute // which it does not take
			}
			_, _, err := readerOf(c).RetryFor(patience).Get(t.Context(), "k")
			var unavailable *UnavailableError
			require.ErrorAs(t, err, &unavailable)
			require.Equal(t, test.retriable, unavailable.Retriable, "%v", err)
			require.Equal(t, "s", unavailable.Store)
			if !strings.Contains(err.Error(), errPatience.Error()) { // it may end during the attempt
				require.ErrorContains(t, err, test.text)
			}
		})
	}
	wrong := clientOf(t, []*fakeInstance{newFakeInstance(t, refuses(refusedQuestion))})
	_, _, err := readerOf(wrong).Get(t.Context(), "k")
	require.ErrorContains(t, err, `query of store "s": refused with 6`)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = readerOf(wrong).Get(ended, "k")
	require.ErrorIs(t, err, context.Canceled)
	gone := newFakeInstance(t, says(onePage("")))
	gone.Close()
	_, _, err = readerOf(clientOf(t, []*fakeInstance{gone})).RetryFor(10*time.Millisecond).Get(t.Context(), "k")
	var unavailable *UnavailableError
	require.ErrorAs(t, err, &unavailable)
	require.True(t, unavailable.Retriable)
}

func TestQueryClientMistakes(t *testing.T) {
	t.Parallel()
	for _, cfg := range []QueryClientConfig{
		{}, {Servers: []string{"host"}}, {Servers: []string{"host:1"}, Scheme: "ftp"},
	} {
		_, err := NewQueryClient(cfg)
		var mistake *ConfigError
		require.ErrorAs(t, err, &mistake)
	}
	c := clientOf(t, []*fakeInstance{newFakeInstance(t, says(onePage("")))})
	_, _, err := QueryFrom[string, string](c, "s", nil, nil).Get(t.Context(), "k")
	require.ErrorIs(t, err, errNoSerdes)
	_, _, err = QueryFrom(c, "other", serde.String, serde.String).Get(t.Context(), "k")
	require.ErrorContains(t, err, `no store "other"`)
	_, _, err = readerOf(c).Partition(7).Get(t.Context(), "k")
	require.ErrorContains(t, err, "has partitions 0 to 0, and not 7")
	_, _, err = QueryWindowFrom(c, "s", serde.String, serde.String).Fetch(t.Context(), "k", 0)
	require.ErrorContains(t, err, "use the reader of its kind")
}

func TestPositions(t *testing.T) {
	t.Parallel()
	at := func(topic string, p int32) record.TopicPartition {
		return record.TopicPartition{Topic: topic, Partition: p}
	}
	committed := Position{at("a", 1): 10, at("b", 1): 20}
	for _, test := range []struct {
		demanded Position
		ok       bool
	}{
		{nil, true},
		{Position{at("a", 1): 10}, true},
		{Position{at("a", 1): 11}, false},
		{Position{at("a", 0): 99, at("a", 1): 3}, true},
		{Position{at("a", 1): 10, at("b", 1): 21}, false},
	} {
		ok, err := test.demanded.reached(committed)
		require.NoError(t, err)
		require.Equal(t, test.ok, ok, "%v", test.demanded)
	}
	_, err := Position{at("c", 1): 1}.reached(committed)
	require.ErrorContains(t, err, "do not read that topic")
	require.Equal(t, Position{at("a", 1): 12, at("b", 1): 20},
		committed.Merge(Position{at("a", 1): 12}, Position{at("b", 1): 3}))
}

func TestMetadataLookups(t *testing.T) {
	t.Parallel()
	m := exampleMetadata()
	require.Len(t, m.WithStore("counts"), 1)
	require.Len(t, m.WithStore("g"), 1, "a global store is everywhere")
	require.Empty(t, m.WithStore("nope"))
	require.Equal(t, "a:1", m.Of("counts", 3).Active.Endpoint)
	require.Empty(t, m.Of("counts", 3).Standbys)
	require.Len(t, m.Of("counts", 4).Standbys, 1)
	require.Nil(t, m.Of("counts", 4).Active)
	require.Nil(t, m.Of("nope", 0).Active)
	c := newCluster(m)
	endpoints, err := c.candidates(&ask{store: "counts", partition: 3})
	require.NoError(t, err)
	require.Equal(t, []string{"a:1"}, endpoints)
	_, err = c.candidates(&ask{store: "counts", partition: 2})
	require.True(t, isElsewhere(err))
	require.True(t, slices.Contains(c.all, "a:1"))
}

func TestQueryHandlerOfAnAppThatDoesNotRun(t *testing.T) {
	t.Parallel()
	a := &App{clock: clock.System()}
	a.cluster = newClusterCache(a.clock, a.lookUpCluster)
	server := httptest.NewServer(a.QueryHandler(func(r *http.Request) error {
		if r.Header.Get("X-Bad") != "" {
			return errNoSerdes
		}
		return nil
	}))
	t.Cleanup(server.Close)
	r := newRemote(nil, "http", a.clock)
	endpoint := strings.TrimPrefix(server.URL, "http://")
	q := exampleAsk()
	err := r.ask(t.Context(), endpoint, &q, func(reply) bool { return true })
	require.True(t, isElsewhere(err), "%v", err)
	_, err = r.cluster(t.Context(), endpoint)
	require.ErrorContains(t, err, "503")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+queryAskPath, strings.NewReader("?"))
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
	req.Header.Set("X-Bad", "1")
	req.Body = http.NoBody
	req.ContentLength = 0
	res, err = http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusForbidden, res.StatusCode)
}
