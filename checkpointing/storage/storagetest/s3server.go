package storagetest

import (
	"bytes"
	"context"
	"fmt"
	"go/build"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// S3 is a real S3 server that a test has started.
type S3 struct {
	Endpoint  string // http://127.0.0.1:PORT
	Bucket    string
	AccessKey string
	SecretKey string
}

// Build it with: go install github.com/versity/versitygw/cmd/versitygw@latest.
const serverBinary = "versitygw"

// StartS3 starts versitygw, an S3 server over a directory, which ends with the test. Where it is not installed the test
// is skipped, or fails if TIDEMARK_REQUIRE_S3=1.
func StartS3(t testing.TB) S3 {
	t.Helper()
	binary := findServer()
	if binary == "" {
		const missing = "NOT TESTED on a real S3: " + serverBinary + " is not installed " +
			"(go install github.com/versity/versitygw/cmd/versitygw@v1.8.0)"
		if os.Getenv("TIDEMARK_REQUIRE_S3") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	s := S3{Bucket: "checkpoints", AccessKey: "tidemark", SecretKey: "tidemark-secret"}
	root, meta := t.TempDir(), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, s.Bucket), 0o700))
	address := freeAddress(t)
	s.Endpoint = "http://" + address
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // Cleanup runs after t.Context has ended
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "--quiet", "--port", address, "--access", s.AccessKey, //nolint:gosec // found above
		"--secret", s.SecretKey, "posix", "--sidecar", meta, root)
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("%s: %s", serverBinary, out.String())
		}
	})
	require.Eventually(t, func() bool { return answers(t.Context(), s.Endpoint) }, 20*time.Second, 20*time.Millisecond,
		"%s does not answer", serverBinary)
	return s
}

func findServer() string {
	if path, err := exec.LookPath(serverBinary); err == nil {
		return path
	}
	folders := []string{os.Getenv("GOBIN"), filepath.Join(build.Default.GOPATH, "bin")}
	if cache, err := os.UserCacheDir(); err == nil {
		folders = append(folders, filepath.Join(cache, "tidemark-ci", "bin"))
	}
	for _, folder := range folders {
		path := filepath.Join(folder, serverBinary)
		if info, err := os.Stat(path); folder != "" && err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// answers tells whether a server speaks HTTP there, whatever it says.
func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return res.Body.Close() == nil
}

// URL is the storage's URL, as s3.Open takes it.
func (s S3) URL(prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=%s", s.Bucket, prefix, s.Endpoint)
}
