package schemaregistry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr/srfake"
)

const startTimeout = 4 * time.Minute // the first start downloads it

// shared is the registry that Start hands out.
type shared struct {
	once sync.Once
	url  string
	err  error
	skip string
}

var common shared //nolint:gochecknoglobals // one registry for the test binary; one per test would take seconds each

// Door leads to the registry. Requests through a closed one fail as if nobody listened.
type Door struct {
	URL      string
	Requests atomic.Int64
	closed   atomic.Bool
}

// Close makes every request fail from now on.
func (d *Door) Close() { d.closed.Store(true) }

// Open lets requests through again.
func (d *Door) Open() { d.closed.Store(false) }

// Start returns a door of this test to the registry that all tests of this binary share.
func Start(t testing.TB) *Door {
	t.Helper()
	common.once.Do(func() {
		switch {
		case !Real():
			common.url = srfake.New().URL()
		case missing() != "":
			common.skip = missing() + " is not installed"
		default:
			common.url, common.err = startReal()
		}
	})
	unavailable(t, common.skip)
	if common.err != nil {
		t.Fatalf("schemaregistry: %v", common.err)
	}
	to, err := url.Parse(common.url)
	if err != nil {
		t.Fatalf("schemaregistry: %v", err)
	}
	d := &Door{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.Requests.Add(1)
		if d.closed.Load() {
			panic(http.ErrAbortHandler) // the connection is cut
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	d.URL = s.URL
	return d
}

// Real tells whether the tests ask for a real registry.
func Real() bool { return os.Getenv("TIDEMARK_INTEGRATION") == "real" }

// missing names a tool that a real registry needs and this machine lacks.
func missing() string {
	for _, tool := range []string{"java", "mvn", "flock", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool
		}
	}
	return ""
}

func unavailable(t testing.TB, why string) {
	t.Helper()
	switch {
	case why == "":
	case os.Getenv("TIDEMARK_REQUIRE_KAFKA") == "1":
		t.Fatalf("schemaregistry: a real registry is required (TIDEMARK_REQUIRE_KAFKA=1), but %s", why)
	default:
		fmt.Fprintf(os.Stderr, "\n*** SKIPPED %s: TIDEMARK_INTEGRATION=real, but %s ***\n", t.Name(), why)
		t.Skipf("TIDEMARK_INTEGRATION=real, but %s", why)
	}
}

// startReal runs apicurio.sh, which ends the registry after this process.
func startReal() (string, error) {
	dir, err := os.MkdirTemp("", "tidemark-registry-")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("cannot find apicurio.sh: this binary has no source paths")
	}
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(filepath.Dir(here), "apicurio.sh"), "start", "--dir", dir,
		"--owner", strconv.Itoa(os.Getpid()))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("apicurio.sh start: %w\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
