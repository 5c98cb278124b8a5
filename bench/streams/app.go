package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/bench/measure"
	"github.com/tidemarkio/tidemark/eos"
)

// newApp maps the options to a configuration. It is the only place that knows the library's names.
func newApp(o options, args measure.Args, h hooks) (*tidemark.App, error) {
	b, err := build(o.workload, o.in, o.out, args)
	if err != nil {
		return nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(args.Get("log", "warn"))); err != nil {
		return nil, fmt.Errorf("--log: %w", err)
	}
	config := tidemark.Config{
		ApplicationID:   o.appID,
		Brokers:         strings.Split(o.bootstrap, ","),
		StateDir:        o.stateDir,
		Workers:         o.threads,
		CommitInterval:  o.commitEvery,
		GroupInstanceID: args.Get("instance-id", ""),
		SessionTimeout:  time.Duration(args.Int("session-ms", 0)) * time.Millisecond,
		StateBytesMax:   int64(args.Int("state-mb", 0)) << 20,

		LeaveGroupOnClose: args.Flag("leave-group", false),
		StandbyReplicas:   args.Int("standby-replicas", 0),

		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		StateListener: func(_, now tidemark.State) {
			if now == tidemark.Running {
				h.running()
			}
		},
		ApplicationServer: args.Get("query-addr", ""),
		RestoreListener:   tidemark.RestoreListener{OnEnd: func(e tidemark.RestoreEnd) { h.restored(e.Records) }},
	}
	if o.mode == "alo" {
		config.ProcessingGuarantee = eos.AtLeastOnce
	}
	if !o.cache {
		config.CacheBytesMax = -1
	}
	h.checkpoints.configure(&config, o, args)
	return tidemark.New(b, config)
}
