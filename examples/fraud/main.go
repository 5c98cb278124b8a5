// Fraud watches card payments: rules over sliding windows of five minutes, profiles in a table, totals of each user,
// and a checkpoint every two seconds.
//
//	go run ./examples/fraud --crash    the application is killed in the middle, and its disk is lost
//	go run ./examples/fraud            it goes on: from the last checkpoint and the changelog's tail
//
// needs nothing but Go: this process has a Kafka broker in it, feeds the payments, and compares all totals and alerts
// with a direct computation. The application itself is a process of its own, so that it can be killed with kill -9.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tidemarkio/tidemark/examples/internal/cluster"
)

type options struct {
	dir             string
	crash, verbose  bool
	users, payments int
	perSecond       int
}

func main() {
	if told := os.Getenv(instanceEnv); told != "" {
		exit(runInstance(told))
	}
	var o options
	flag.StringVar(&o.dir, "dir", "", "folder for topics, state and checkpoints (default: the user's state folder)")
	flag.BoolVar(&o.crash, "crash", false, "kill the application in the middle, lose its disk, and end")
	flag.IntVar(&o.users, "users", 2000, "number of card holders")
	flag.IntVar(&o.payments, "payments", 100_000, "number of payments")
	flag.IntVar(&o.perSecond, "payments-per-second", 10_000, "how fast they come")
	flag.BoolVar(&o.verbose, "verbose", false, "log what Tidemark does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fraud:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// crashAfter is the part of the payments after which --crash kills.
const crashAfter = 0.6

// run feeds all payments and checks what comes of them, or kills the application in the middle.
func run(ctx context.Context, o options) error {
	dir, err := o.folder()
	if err != nil {
		return err
	}
	kafka, err := cluster.Connect(ctx, "", filepath.Join(dir, "kafka"))
	if err != nil {
		return err
	}
	defer kafka.Close()
	if err := kafka.CreateTopics(ctx, partitions, transactionsTopic, profilesTopic, alertsTopic, totalsTopic); err != nil {
		return err
	}
	l := newLoad(o.users, o.payments)
	if err := feedProfiles(ctx, kafka, l); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	app, err := startInstance(kafka.Brokers, dir, o.verbose)
	if err != nil {
		return err
	}
	defer app.kill()
	end := len(l.payments)
	if o.crash {
		end = int(crashAfter * float64(end))
	}
	fed := make(chan error, 1)
	go func() { fed <- feed(ctx, kafka, l.payments[:end], o.perSecond) }()
	watched := make(chan error, 1)
	go func() { watched <- watch(ctx, kafka.Brokers, l, l.judge()) }()
	for {
		select {
		case err := <-fed:
			switch {
			case err != nil && ctx.Err() == nil:
				return fmt.Errorf("feed: %w", err)
			case o.crash && err == nil:
				return crash(app, dir)
			}
			fed = nil
		case <-app.ended:
			return errors.New("the application ended by itself, see above (--verbose tells more)")
		case err := <-watched:
			if ctx.Err() != nil {
				fmt.Println("\ninterrupted: run it again, and it goes on from its last commit")
				return app.stop()
			}
			if err != nil {
				return err
			}
			if err := app.stop(); err != nil {
				return err
			}
			return kafka.Finish(dir)
		}
	}
}

// crash kills the application and deletes its local state, as if its machine were gone.
func crash(app *instance, dir string) error {
	app.kill()
	if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
		return err
	}
	fmt.Println("\nkill -9, and the local state is deleted: run it again, without --crash")
	return nil
}

func (o options) folder() (string, error) {
	if o.dir != "" {
		return o.dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.Join(errors.New("no home folder to keep state in: set --dir"), err)
	}
	return filepath.Join(home, ".local", "state", "tidemark-examples", "fraud"), nil
}

// settleTime is how long a process may take to end.
const settleTime = 30 * time.Second
