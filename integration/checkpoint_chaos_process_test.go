package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidemarkio/tidemark"
	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/checkpointing/storage/dir"
	"github.com/tidemarkio/tidemark/checkpointing/storage/storagetest"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// The processes of TestCheckpointChaos: this test binary again, told by its environment what to be.
const (
	chaosLifeEnv   = "TIDEMARK_TEST_CHAOS_LIFE"
	chaosStateEnv  = "TIDEMARK_TEST_CHAOS_STATE"
	chaosFaultsEnv = "TIDEMARK_TEST_CHAOS_FAULTS"
)

// chaosLife is how the processes of a run behave, drawn from its seed, and what a process is told.
type chaosLife struct {
	ApplicationID     string
	Brokers           []string
	In, First, Second string
	// Storage is the directory of checkpoints; storages do not fail any more when the file Calm exists.
	Storage, Calm string

	Workers, CommitMs, FlushMs, SessionMs                   int
	IntervalMs, TimeoutMs, MaxConcurrent, Retained          int
	Unaligned, Incremental, Lazy                            bool
	AlignedTimeoutMs, ChainMax, FaultsPerMille, UploadBytes int
}

// shortSessionMs is as long as a busy machine may keep a process waiting.
const shortSessionMs = 2000

func drawLife(r *rand.Rand) chaosLife {
	l := chaosLife{
		Workers: 1 + r.IntN(2), CommitMs: 15 + r.IntN(50), FlushMs: 100 + r.IntN(200),
		SessionMs: []int{shortSessionMs, 5000}[r.IntN(2)], IntervalMs: 80 + r.IntN(120), TimeoutMs: 1000 + r.IntN(1000),
		MaxConcurrent: 1 + r.IntN(3), Retained: 1 + r.IntN(3), Unaligned: r.IntN(2) == 0, Incremental: r.IntN(3) > 0,
		ChainMax: 2 + r.IntN(6),
	}
	if r.IntN(3) == 0 {
		l.AlignedTimeoutMs = 5 + r.IntN(50)
	}
	if r.IntN(5) > 0 { // else only processes die
		l.FaultsPerMille = 5 + r.IntN(60)
	}
	if r.IntN(4) == 0 { // snapshots take their time
		l.UploadBytes = 20_000 + r.IntN(100_000)
	}
	l.Lazy = r.IntN(2) == 0
	return l
}

// hops counts words, and then, behind a second repartition topic, the counts by their words' initials: every input has
// one output in each topic.
func hops(in, first, second string) *topology.Builder {
	b := topology.NewBuilder()
	byWord := topology.GroupBy(topology.Stream(b, in, serde.String, serde.String),
		func(_, word string) string { return word }, serde.String, topology.Named("by-word"))
	words := topology.Count(byWord, topology.As("words")).ToStream()
	words.To(first)
	byInitial := topology.GroupBy(words, func(word string, _ int64) string { return word[:1] }, serde.String,
		topology.Named("by-initial"))
	topology.Count(byInitial, topology.As("initials")).ToStream().To(second)
	return b
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// runChaosInstance is the program of such a process.
func runChaosInstance(told string) error {
	var l chaosLife
	if err := json.Unmarshal([]byte(told), &l); err != nil {
		return err
	}
	faults, err := strconv.ParseUint(os.Getenv(chaosFaultsEnv), 10, 64)
	if err != nil {
		return fmt.Errorf("%s: %w", chaosFaultsEnv, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	app, err := tidemark.New(hops(l.In, l.First, l.Second), tidemark.Config{
		ApplicationID: l.ApplicationID, Brokers: l.Brokers, StateDir: os.Getenv(chaosStateEnv), Workers: l.Workers,
		CacheBytesMax: -1, CommitInterval: ms(l.CommitMs), FlushInterval: ms(l.FlushMs), SessionTimeout: ms(l.SessionMs),
		// The embedded broker waits that long for dead members if all are killed in the middle of a rebalance, and readers of
		// repartition topics do for the transaction of a machine that is lost, if no task with state has a part in it.
		RebalanceTimeout: 4 * time.Second, TransactionTimeout: 4 * time.Second,
		Checkpointing: checkpointing.Config{
			Storage: l.faulty(faults), Interval: ms(l.IntervalMs), Timeout: ms(l.TimeoutMs), MaxConcurrent: l.MaxConcurrent,
			Retained: l.Retained, Unaligned: l.Unaligned, AlignedTimeout: ms(l.AlignedTimeoutMs), Incremental: l.Incremental,
			IncrementalChainMax: l.ChainMax, UploadBytesPerSecond: int64(l.UploadBytes),
			LazyRestore: l.Lazy,
		},
		Restart: tidemark.RestartFixedDelay(1000, 100*time.Millisecond),
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	go tell(ctx, app)
	return app.Run(ctx)
}

// slow is no fault: the call takes a while.
const slow = "slow"

// chaosFaults are what may become of a call. Those that are there twice come twice as often.
var chaosFaults = map[storagetest.Op][]storagetest.Fault{
	storagetest.OnCreate: {slow, storagetest.Refuse, storagetest.Refuse, storagetest.Deny, storagetest.Hang},
	storagetest.OnWrite: {
		slow, storagetest.DiskFull, storagetest.DiskFull, storagetest.DiskFull, storagetest.Refuse, storagetest.Hang,
	},
	storagetest.OnCommit: {
		slow, storagetest.Refuse, storagetest.Deny, storagetest.LostAnswer, storagetest.LostAnswer, storagetest.Partial,
		storagetest.Hang,
	},
	storagetest.OnOpen: {
		slow, storagetest.Refuse, storagetest.FlipBit, storagetest.CutShort, storagetest.Hang,
	},
	storagetest.OnRange:  {slow, slow, storagetest.Refuse, storagetest.FlipBit, storagetest.Hang},
	storagetest.OnList:   {slow, storagetest.Refuse, storagetest.Refuse, storagetest.Hang},
	storagetest.OnDelete: {slow, storagetest.Refuse, storagetest.Refuse, storagetest.LostAnswer, storagetest.Hang},
}

// faulty is the directory of checkpoints, as a process with this seed has it.
func (l *chaosLife) faulty(seed uint64) storage.Storage {
	f := storagetest.NewFaulty(dir.New(l.Storage))
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 5))
	f.Draw(func(op storagetest.Op, name string) storagetest.Fault {
		if _, err := os.Stat(l.Calm); err == nil {
			return ""
		}
		mu.Lock()
		hit, pause := r.IntN(1000) < l.FaultsPerMille, ms(r.IntN(150))
		fault := chaosFaults[op][r.IntN(len(chaosFaults[op]))]
		mu.Unlock()
		if l.Lazy && op == storagetest.OnOpen && strings.HasSuffix(name, ".snap") {
			<-time.After(4 * pause) // so that processes die while they load beside processing
		}
		switch {
		case !hit:
			return ""
		case fault == slow:
			<-time.After(pause)
			return ""
		}
		return fault
	})
	return f
}
