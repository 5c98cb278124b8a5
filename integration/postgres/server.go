package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startTimeout = 4 * time.Minute // the first start may download it
	patience     = 30 * time.Second
	preparedMax  = 64
)

// shared is the server that Start hands out.
type shared struct {
	once sync.Once
	url  string
	err  error
	skip string
}

var common shared //nolint:gochecknoglobals // one server for the test binary; one per test would take seconds each

// Database is a database of one test.
type Database struct {
	// URL connects to it.
	URL string
}

// Start returns a new, empty database on the server that all tests of this binary share. It goes with the server.
func Start(t testing.TB) *Database {
	t.Helper()
	common.once.Do(func() {
		if common.skip = missing(); common.skip == "" {
			common.url, common.err = startServer(preparedMax)
		}
	})
	unavailable(t, common.skip)
	if common.err != nil {
		t.Fatalf("postgres: %v", common.err)
	}
	name := fmt.Sprintf("test_%08x", rand.Uint32())
	(&Database{URL: common.url}).Exec(t, "CREATE DATABASE "+name)
	u, err := url.Parse(common.url)
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	u.Path = "/" + name
	return &Database{URL: u.String()}
}

// StartNew is a database on a server of its own with so many prepared transactions.
func StartNew(t testing.TB, prepared int) *Database {
	t.Helper()
	unavailable(t, missing())
	u, err := startServer(prepared)
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
	return &Database{URL: u}
}

// Exec runs statements.
func (d *Database) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	d.with(t, func(ctx context.Context, pg *pgx.Conn) error {
		_, err := pg.Exec(ctx, sql, args...)
		return err
	})
}

// Lines runs a query and returns its rows, with the columns' texts separated by blanks.
func (d *Database) Lines(t testing.TB, sql string, args ...any) (lines []string) {
	t.Helper()
	d.with(t, func(ctx context.Context, pg *pgx.Conn) error {
		rows, err := pg.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		lines, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (string, error) {
			values, err := r.Values()
			return strings.TrimSuffix(fmt.Sprintln(values...), "\n"), err
		})
		return err
	})
	return lines
}

func (d *Database) with(t testing.TB, fn func(ctx context.Context, pg *pgx.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pg, err := pgx.Connect(ctx, d.URL)
	if err == nil {
		err = errors.Join(fn(ctx, pg), pg.Close(ctx))
	}
	if err != nil {
		t.Fatalf("postgres: %v", err)
	}
}

// missing says why no server can be had, "" if one can.
func missing() string {
	script, err := scriptPath()
	if err != nil {
		return err.Error()
	}
	if exec.Command("bash", script, "have").Run() == nil { //nolint:noctx // it looks at files
		return ""
	}
	if os.Getenv("TIDEMARK_INTEGRATION") != "real" {
		return "PostgreSQL is not installed, and TIDEMARK_INTEGRATION=real, which would download it, is not set"
	}
	for _, tool := range []string{"mvn", "flock", "tar", "xz"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "PostgreSQL is not installed, and neither is " + tool + ", which would bring it"
		}
	}
	return ""
}

func unavailable(t testing.TB, why string) {
	t.Helper()
	switch {
	case why == "":
	case os.Getenv("TIDEMARK_REQUIRE_POSTGRES") == "1":
		t.Fatalf("postgres: a server is required (TIDEMARK_REQUIRE_POSTGRES=1), but %s", why)
	default:
		fmt.Fprintf(os.Stderr, "\n*** SKIPPED %s: %s ***\n", t.Name(), why)
		t.Skip(why)
	}
}

func scriptPath() (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("cannot find postgres.sh: this binary has no source paths")
	}
	return filepath.Join(filepath.Dir(here), "postgres.sh"), nil
}

// startServer runs postgres.sh, which ends the server after this process.
func startServer(prepared int) (string, error) {
	dir, err := os.MkdirTemp("", "tidemark-postgres-")
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	script, err := scriptPath()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "bash", script, "start", "--dir", dir, "--owner", strconv.Itoa(os.Getpid()),
		"--prepared", strconv.Itoa(prepared))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("postgres.sh start: %w\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}
