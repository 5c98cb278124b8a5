package metamorphic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/integration/conformance/cases"
)

const (
	lifeEnv  = "TIDEMARK_METAMORPHIC_LIFE"
	stateEnv = "TIDEMARK_METAMORPHIC_STATE"
)

// TestMain is also the program of the processes that TestApp starts and kills.
func TestMain(m *testing.M) {
	if told := os.Getenv(lifeEnv); told != "" {
		if err := runLife(told, os.Getenv(stateEnv)); err != nil {
			fmt.Fprintln(os.Stderr, "process:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func runLife(told, dir string) error {
	var l life
	if err := json.Unmarshal([]byte(told), &l); err != nil {
		return err
	}
	b, err := cases.Build(&l.Case, l.options()...)
	if err != nil {
		return err
	}
	cache := int64(-1)
	if l.Caching {
		cache = 1 << 20
	}
	app, err := tidemark.New(b.Builder, tidemark.Config{
		ApplicationID: l.ApplicationID, Brokers: l.Brokers, StateDir: dir, Workers: l.Workers,
		CommitInterval: time.Duration(l.CommitMs) * time.Millisecond, CacheBytesMax: cache,
		SessionTimeout: sessionMs * time.Millisecond, AllowGeneratedNames: true,
		Restart: tidemark.RestartFixedDelay(1000, 100*time.Millisecond),
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return app.Run(ctx)
}

// process is one process of the application.
type process struct {
	cmd   *exec.Cmd
	dir   string
	log   string // its file
	ended chan struct{}
}

func (f *fleet) launch(dir string) *process {
	f.t.Helper()
	told, err := json.Marshal(f.life)
	if err != nil {
		f.t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		f.t.Fatal(err)
	}
	log, err := os.CreateTemp(f.dir, filepath.Base(dir)+"-*.log")
	if err != nil {
		f.t.Fatal(err)
	}
	p := &process{cmd: exec.Command(exe), dir: dir, log: log.Name(), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), lifeEnv+"="+string(told), stateEnv+"="+dir)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit code is looked at in failure
		_ = log.Close()
	}()
	f.t.Cleanup(p.kill)
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.ended
}

// stop asks for a clean end and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(settleWithin):
		return fmt.Errorf("a process does not end:\n%s", p.tail())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("a process ended with %d:\n%s", code, p.tail())
	}
	return nil
}

// failure tells why a process has ended that nobody ended.
func (p *process) failure() error {
	select {
	case <-p.ended:
		return errors.New("a process ended by itself:\n" + p.tail())
	default:
		return nil
	}
}

// tail returns the last lines of its log.
func (p *process) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(data), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}
