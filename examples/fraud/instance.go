package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
)

// instanceEnv makes this program the application.
const instanceEnv = "TIDEMARK_FRAUD_INSTANCE"

// told is what the application is told.
type told struct {
	Brokers []string
	Dir     string
	Verbose bool
}

// runInstance is the application: what a service would have in its main function.
func runInstance(text string) error {
	var o told
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	level := slog.LevelError
	if o.Verbose {
		level = slog.LevelInfo
	}
	snapshots, err := dir.New(filepath.Join(o.Dir, "checkpoints"))
	if err != nil {
		return err
	}
	app, err := tidemark.New(Fraud(), tidemark.Config{
		ApplicationID: "fraud", Brokers: o.Brokers, StateDir: filepath.Join(o.Dir, "state"),
		CacheBytesMax: -1, // each payment's window is judged, not only the last one of a commit
		Checkpointing: checkpointing.Config{
			Interval: 2 * time.Second, Storage: snapshots, Incremental: true, Retained: 3,
		},
		RestoreListener: tidemark.RestoreListener{OnEnd: func(e tidemark.RestoreEnd) {
			fmt.Printf("  restored %-10s of task %s from %s and %d records of its changelog in %s\n", e.Store, e.Task, e.Base,
				e.Records, e.Took.Round(time.Millisecond))
		}},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return app.Run(ctx)
}

// instance is the application's process.
type instance struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func startInstance(brokers []string, folder string, verbose bool) (*instance, error) {
	text, err := json.Marshal(told{Brokers: brokers, Dir: folder, Verbose: verbose})
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	i := &instance{cmd: exec.Command(exe), ended: make(chan struct{})}
	i.cmd.Env = append(os.Environ(), instanceEnv+"="+string(text))
	i.cmd.Stdout, i.cmd.Stderr = os.Stdout, os.Stderr
	i.cmd.SysProcAttr = ownGroup() // an interrupt at the terminal is for us, who end it in order
	if err := i.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(i.ended)
		_ = i.cmd.Wait() // what it ended with is looked at in stop
	}()
	return i, nil
}

// kill is kill -9.
func (i *instance) kill() {
	_ = i.cmd.Process.Kill()
	<-i.ended
}

// stop asks for a clean end.
func (i *instance) stop() error {
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.ended:
	case <-time.After(settleTime):
		i.kill()
		return fmt.Errorf("the application did not end within %s", settleTime)
	}
	if code := i.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the application ended with %d", code)
	}
	return nil
}
