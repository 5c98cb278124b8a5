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
	app, err := tidemark.New(Fraud(), tidemark.Config{
		ApplicationID: "fraud", Brokers: o.Brokers, StateDir: filepath.Join(o.Dir, "state"),
		CacheBytesMax: -1, // each payment's window is judged, not only the last one of a commit
		Checkpointing: checkpointing.Config{
			Interval: 2 * time.Second, Storage: dir.New(filepath.Join(o.Dir, "checkpoints")), Incremental: true, Retained: 3,
		},
		CheckpointListener: tidemark.CheckpointListener{OnCompleted: showCheckpoint},
		RestoreListener:    tidemark.RestoreListener{OnEnd: showRestore},
		// The group knows a process by an identity in its state directory. If that is lost, nobody comes back for its
		// tasks, and they wait for the end of its session: 45 s by default.
		SessionTimeout: 6 * time.Second,
		Logger:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return app.Run(ctx)
}

func showCheckpoint(c checkpointing.Completed) {
	fmt.Printf("       checkpoint %d: %d kB in %d ms\n", c.ID, c.Bytes/1000, c.CompletedMs-c.TriggeredMs)
}

func showRestore(e tidemark.RestoreEnd) {
	if e.Base == "none" && e.Records == 0 {
		return // the very first start
	}
	fmt.Printf("       task %s, %s: restored from %s and %d records of the changelog's tail in %s\n", e.Task, e.Store,
		e.Base, e.Records, e.Took.Round(time.Millisecond))
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
	i := &instance{
		cmd:   exec.Command(exe), //nolint:noctx // it is ended in order, also after an interrupt
		ended: make(chan struct{}),
	}
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
