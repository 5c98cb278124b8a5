package checkpointing

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/checkpointing/storage"
	"github.com/tidemarkio/tidemark/record"
)

// anyStorage is a storage that nobody calls.
type anyStorage struct{ storage.Storage }

// drive is a coordinator whose actions are carried out at once, and written down.
type drive struct {
	t    *testing.T
	cfg  CoordinatorConfig
	c    *Coordinator
	view *View
	now  int64
	fail map[int64]bool // manifests that cannot be stored
	log  []string       // since the last take
	kept Clean
}

func newDrive(t *testing.T, conf Config) *drive {
	conf.Storage = anyStorage{}
	conf = conf.WithDefaults()
	require.NoError(t, conf.Validate())
	d := &drive{t: t, view: NewView(), now: 1000, fail: make(map[int64]bool), cfg: CoordinatorConfig{
		ApplicationID: "app", Fingerprint: "f", Tasks: map[int32]int32{0: 2}, Config: conf,
	}}
	d.takeOver(Stored{})
	return d
}

func mustApply(t *testing.T, v *View, m Message) {
	t.Helper()
	_, err := v.Apply(m)
	require.NoError(t, err)
}

// takeOver replaces the coordinator by a new one.
func (d *drive) takeOver(stored Stored) {
	c, todo := NewCoordinator(d.cfg, d.view, stored, d.now)
	d.c = c
	d.carryOut(todo)
}

func (d *drive) carryOut(todo []Action) {
	for _, a := range todo {
		switch a := a.(type) {
		case Write:
			var keys []string
			for _, m := range a.Messages {
				mustApply(d.t, d.view, m)
				key := m.Key
				if m.Value == nil {
					key = "-" + key
				}
				keys = append(keys, key)
			}
			d.log = append(d.log, "write "+strings.Join(keys, " "))
		case Publish:
			d.log = append(d.log, fmt.Sprintf("publish %d", a.Trigger.ID))
			var err error
			if d.fail[a.Trigger.ID] {
				err = errors.New("the disk is full")
			}
			d.carryOut(d.c.Step(d.now, Published{ID: a.Trigger.ID, Err: err}))
		case Clean:
			d.kept = a
			d.carryOut(d.c.Step(d.now, Tidied{Folders: a.Folders}))
			d.log = append(d.log, fmt.Sprintf("clean %v %v %v <%d %v", a.Retained, a.InProgress, a.Bases, a.Below, a.Folders))
		}
	}
}

// after lets time pass, and ticks when the coordinator asks for it.
func (d *drive) after(pause time.Duration) *drive {
	end := d.now + pause.Milliseconds()
	for d.c.NextTick() <= end {
		d.now = max(d.now, d.c.NextTick())
		before := d.c.NextTick()
		d.carryOut(d.c.Step(d.now, Tick{}))
		require.NotEqual(d.t, before, d.c.NextTick(), "a tick that changes nothing comes for ever")
	}
	d.now = end
	return d
}

func (d *drive) receive(m Message) *drive {
	mustApply(d.t, d.view, m)
	d.carryOut(d.c.Step(d.now, Received{Message: m}))
	return d
}

func (d *drive) ack(id int64, tasks ...int32) *drive {
	for _, p := range tasks {
		task := record.TaskID{Partition: p}
		d.receive(AckMessage(Ack{
			ID: id, Task: task.String(), AckMs: d.now, Snapshot: &TaskSnapshot{Task: task, Bytes: 10},
		}))
	}
	return d
}

// unheard has both tasks acknowledge while the coordinator does not read.
func (d *drive) unheard(id int64) {
	for p := range int32(2) {
		task := record.TaskID{Partition: p}
		m := AckMessage(Ack{ID: id, Task: task.String(), Snapshot: &TaskSnapshot{Task: task}})
		mustApply(d.t, d.view, m)
	}
}

func (d *drive) decline(id int64, p int32, reason string, notRunning bool) *drive {
	task := record.TaskID{Partition: p}
	return d.receive(AckMessage(Ack{ID: id, Task: task.String(), Declined: reason, NotRunning: notRunning}))
}

func (d *drive) command(c Command) *drive {
	c.RequestedMs = d.now
	return d.receive(CommandMessage(c))
}

// took checks what was done since the last call.
func (d *drive) took(want ...string) *drive {
	d.t.Helper()
	if len(want) == 0 {
		require.Empty(d.t, d.log)
	} else {
		require.Equal(d.t, want, d.log)
	}
	d.log = nil
	return d
}

func (d *drive) result(command string) Result {
	r := d.view.Result(command)
	require.NotNil(d.t, r, command)
	return *r
}

const (
	start1    = "write trigger/1"
	finish1   = "write completed/1 -ack/1/0_0 -ack/1/0_1 -trigger/1"
	cleanNone = "clean [] [] [] <1 []"
)

func TestCoordinatorCompletes(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{Interval: time.Second, Incremental: true})
	d.took(cleanNone)
	d.after(999 * time.Millisecond).took()
	d.after(time.Millisecond).took(start1)
	require.Equal(t, []int64{1}, ids(d.view.InProgress()))
	trigger := d.view.InProgress()[0]
	require.Equal(t, "app/chk-1", trigger.Location)
	require.Zero(t, trigger.Base)
	d.ack(1, 0).took()
	d.ack(1, 0).took() // twice
	d.after(200*time.Millisecond).ack(1, 1).took("publish 1", finish1, "clean [1] [] [] <2 []")
	done := d.view.Completed()[0]
	require.Equal(t, int64(20), done.Bytes)
	require.Equal(t, int64(200), done.CompletedMs-done.TriggeredMs)
	require.Equal(t, int64(200), done.Tasks[1].AckMs)
	require.Equal(t, []int64{1}, done.Retained)
	d.after(800 * time.Millisecond).took("write trigger/2")
	require.Equal(t, int64(1), d.view.InProgress()[0].Base)
	d.ack(1, 1).took("write -ack/1/0_1") // late
	d.ack(2, 1, 0).took("publish 2", "write completed/2 -ack/2/0_0 -ack/2/0_1 -trigger/2", "clean [2] [] [] <3 []")
}

func ids(triggers []*Trigger) (out []int64) {
	for _, t := range triggers {
		out = append(out, t.ID)
	}
	return out
}

func TestCoordinatorAborts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do      func(d *drive)
		reason  string
		counted bool
	}{
		"timeout": {
			func(d *drive) { d.ack(1, 0).after(5 * time.Second) },
			"1 of 2 tasks did not acknowledge it within 5s: 0_1", true,
		},
		"declined": {
			func(d *drive) { d.ack(1, 0).decline(1, 1, "the storage is full", false) },
			"task 0_1 declined it: the storage is full", true,
		},
		"not running": {
			func(d *drive) { d.decline(1, 1, "it is being restored", true) },
			"task 0_1 declined it: it is being restored", false,
		},
		"not published": {
			func(d *drive) { d.fail[1] = true; d.ack(1, 0, 1) },
			"its manifest cannot be stored: the disk is full", true,
		},
		"taken over": {
			func(d *drive) { d.ack(1, 0); d.takeOver(Stored{}) },
			"its coordinator has moved or restarted", false,
		},
		"other tasks": {
			func(d *drive) {
				d.unheard(1)
				d.cfg.Tasks = map[int32]int32{0: 3}
				d.takeOver(Stored{})
			},
			"the application has other tasks now", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDrive(t, Config{Interval: 10 * time.Second, Timeout: 5 * time.Second})
			d.after(10*time.Second).took(cleanNone, start1)
			c.do(d)
			require.Len(t, d.view.Aborted(), 1)
			require.Equal(t, c.reason, d.view.Aborted()[0].Reason)
			require.Equal(t, c.counted, d.view.Aborted()[0].Counted)
			require.Empty(t, d.view.InProgress())
			require.Empty(t, d.kept.InProgress)
			require.Empty(t, d.kept.Retained)
			require.Equal(t, int64(2), d.kept.Below)
			d.log = nil
			d.after(20 * time.Second)
			require.Contains(t, d.log, "write trigger/2", "it goes on")
		})
	}
}

func TestCoordinatorPublishesWhatIsComplete(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{Interval: time.Second, Timeout: time.Second})
	d.after(time.Second).took(cleanNone, start1)
	d.unheard(1)
	d.now += 10_000
	d.takeOver(Stored{})
	require.Equal(t, "publish 1", d.log[len(d.log)-4], "%v", d.log)
	require.Contains(t, d.log, finish1)
}

func TestCoordinatorGrowsIDs(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{Interval: time.Second, Retained: 5, Incremental: true})
	d.takeOver(Stored{Checkpoints: []int64{3, 7}, LastID: 9}) // the topic is new, the storage is not
	require.Equal(t, "write completed/3 completed/7", d.log[1])
	d.after(500 * time.Millisecond)
	d.takeOver(Stored{Checkpoints: []int64{3, 5, 7}, LastID: 9}) // 5 was aborted, and its manifest is late
	d.after(time.Second)
	trigger := d.view.InProgress()[0]
	require.Equal(t, int64(10), trigger.ID)
	require.Equal(t, int64(7), trigger.Base)
	require.Equal(t, []int64{3, 7}, d.kept.Retained)
	d.ack(10, 0, 1)
	require.Equal(t, Clean{Retained: []int64{3, 7, 10}, Below: 11}, d.kept)
}

func TestCoordinatorRetainsAndSubsumes(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{Interval: time.Second, Retained: 2, MaxConcurrent: 3, Incremental: true})
	d.after(time.Second).ack(1, 0, 1)
	d.after(3 * time.Second) // 2, 3, 4 in progress; no fourth
	require.Equal(t, []int64{2, 3, 4}, ids(d.view.InProgress()))
	d.after(5 * time.Second)
	require.Equal(t, []int64{2, 3, 4}, ids(d.view.InProgress()))
	d.ack(3, 0, 1)
	require.Equal(t, "checkpoint 3 completed before it", d.view.Aborted()[0].Reason)
	require.Equal(t, []int64{1, 3}, d.kept.Retained)
	require.Equal(t, []int64{1, 3}, d.kept.Bases, "checkpoint 4 builds on 1, and 5 on 3")
	require.Equal(t, []int64{4, 5}, ids(d.view.InProgress()), "the interval has passed")
	require.Equal(t, int64(3), d.view.InProgress()[1].Base)
	d.ack(4, 0, 1)
	require.Equal(t, []int64{3, 4}, d.kept.Retained)
	require.Equal(t, []int64{3}, d.kept.Bases, "of 5")
}

func TestCoordinatorPauses(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{Interval: time.Second, MinPause: 800 * time.Millisecond})
	d.after(1900*time.Millisecond).ack(1, 0, 1) // began at 1 s, ends at 1.9 s
	d.log = nil
	d.after(799 * time.Millisecond).took()
	d.after(time.Millisecond).took("write trigger/2")
}

func TestCoordinatorTolerates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tolerable, fails int
		want             bool
	}{
		{TolerateAny, 30, false}, {TolerateNone, 1, true}, {2, 2, false}, {2, 3, true},
	} {
		d := newDrive(t, Config{Interval: time.Second, TolerableFailed: c.tolerable})
		for i := range c.fails {
			d.after(time.Second).decline(int64(i+1), 0, "no", false)
		}
		require.Equal(t, c.want, d.view.Failed() != nil, "%+v", c)
		if c.want {
			require.Equal(t, int64(c.fails), d.view.Failed().ID)
			require.Equal(t, "task 0_0 declined it: no", d.view.Failed().Reason)
			d.takeOver(Stored{})
			require.Zero(t, d.c.failures, "it was told, the next life begins anew")
		}
	}
	d := newDrive(t, Config{Interval: time.Second, TolerableFailed: 2})
	d.after(time.Second).decline(1, 0, "no", false)
	d.after(time.Second).decline(2, 0, "no", false)
	d.takeOver(Stored{})
	require.Equal(t, 2, d.c.failures, "also those of the predecessor")
	d.after(time.Second).ack(3, 0, 1)
	require.Zero(t, d.c.failures)
}

func TestCoordinatorSavepoints(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{
		Interval: time.Second, Unaligned: true, AlignedTimeout: time.Second, MinPause: time.Second, Incremental: true,
	})
	d.after(time.Second).ack(1, 0, 1)
	d.after(time.Second)
	d.command(Command{ID: "c0ffee-1234-5678", Kind: CommandSavepoint, TimeoutMs: 77})
	require.Equal(t, []int64{2, 3}, ids(d.view.InProgress()), "it waits for no pause and no other")
	s := d.view.InProgress()[1]
	require.True(t, s.Savepoint)
	require.False(t, s.Unaligned || s.Incremental || s.Stop)
	require.Zero(t, s.Base+s.AlignedTimeoutMs)
	require.Equal(t, int64(77), s.TimeoutMs)
	require.Equal(t, "app/savepoint-3-c0ffee-1", s.Location)
	d.command(Command{ID: "c0ffee-1234-5678", Kind: CommandSavepoint}) // again
	require.Len(t, d.view.InProgress(), 2)
	d.ack(3, 0, 1)
	require.Equal(t, Result{
		V: 1, Command: "c0ffee-1234-5678", FinishedMs: d.now, Checkpoint: 3, Location: s.Location,
	}, d.result("c0ffee-1234-5678"))
	require.Equal(t, []int64{2}, ids(d.view.InProgress()), "a savepoint makes no checkpoint superfluous")
	require.Equal(t, []int64{1}, d.kept.Retained, "and is not one of the retained")
	d.command(Command{ID: "c0ffee-1234-5678", Kind: CommandSavepoint})
	require.Len(t, d.view.InProgress(), 1, "and once more")

	d.command(Command{ID: "f00d", Kind: CommandSavepoint})
	d.decline(4, 0, "no", false)
	require.Equal(t, "the checkpoint was aborted: task 0_0 declined it: no", d.result("f00d").Error)
	require.Equal(t, []string{"app/savepoint-4-f00d"}, d.kept.Folders)
	require.False(t, d.view.Aborted()[0].Counted)
	d.ack(4, 1)
	require.Equal(t, []string{"app/savepoint-4-f00d"}, d.kept.Folders, "once more, for what came late")
	d.after(11 * time.Minute)
	require.Nil(t, d.view.Result("f00d"))
}

func TestCoordinatorCommands(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{})
	require.Equal(t, int64(math.MaxInt64), d.c.NextTick(), "nothing is periodic")
	d.command(Command{ID: "a", Kind: CommandCheckpoint}).command(Command{ID: "b", Kind: CommandCheckpoint, Full: true})
	require.Equal(t, []int64{1}, ids(d.view.InProgress()), "one at a time")
	d.command(Command{ID: "c", Kind: CommandCheckpoint, ExpiresMs: d.now + 10})
	d.after(20 * time.Millisecond)
	require.Contains(t, d.result("c").Error, "nobody waits")
	d.ack(1, 0, 1)
	require.Equal(t, int64(1), d.result("a").Checkpoint)
	require.Equal(t, []int64{2}, ids(d.view.InProgress()))
	d.command(Command{ID: "d", Kind: "dance"})
	require.Contains(t, d.result("d").Error, `"dance" is not known`)
	n := 3
	d.command(Command{ID: "e", Kind: CommandConfigure, Overrides: &Overrides{Retained: &n}})
	require.Empty(t, d.result("e").Error)
	n = 0
	d.command(Command{ID: "f", Kind: CommandConfigure})
	require.Contains(t, d.result("f").Error, "no overrides")
	ms := int64(-5)
	d.command(Command{ID: "g", Kind: CommandConfigure, Overrides: &Overrides{IntervalMs: &ms}})
	require.Contains(t, d.result("g").Error, "Interval")
	ms = 500
	d.command(Command{ID: "h", Kind: CommandConfigure, Overrides: &Overrides{IntervalMs: &ms}})
	d.ack(2, 0, 1).after(500 * time.Millisecond)
	require.Equal(t, []int64{3}, ids(d.view.InProgress()))
	d.takeOver(Stored{})
	require.Equal(t, 500*time.Millisecond, d.c.Config().Interval)
	d.command(Command{ID: "i", Kind: CommandConfigure, Overrides: &Overrides{Reset: true}})
	require.Zero(t, d.c.Config().Interval)
}

func TestCoordinatorStops(t *testing.T) {
	t.Parallel()
	for _, retention := range []Retention{RetainOnCancellation, DeleteOnCancellation} {
		d := newDrive(t, Config{Interval: time.Second, Retention: retention})
		d.after(time.Second).ack(1, 0, 1).after(time.Second)
		d.command(Command{ID: "stop", Kind: CommandStop}).command(Command{ID: "late", Kind: CommandSavepoint})
		require.Equal(t, []int64{2, 3}, ids(d.view.InProgress()), "nothing comes behind it")
		require.True(t, d.view.InProgress()[1].Stop)
		d.ack(3, 0, 1)
		require.Equal(t, &Stop{
			V: 1, StoppedMs: d.now, Command: "stop", Savepoint: "app/savepoint-3-stop",
		}, d.view.Stop())
		require.Equal(t, "app/savepoint-3-stop", d.result("stop").Location)
		require.Contains(t, d.result("late").Error, "is being stopped")
		require.Empty(t, d.view.InProgress())
		if retention == DeleteOnCancellation {
			require.Empty(t, d.kept.Retained)
		} else {
			require.Equal(t, []int64{1}, d.kept.Retained)
		}
		d.after(time.Minute)
		require.Empty(t, d.view.InProgress())
		d.takeOver(Stored{})
		d.after(time.Minute)
		require.NotEmpty(t, d.view.InProgress(), "the next life goes on")
	}
	d := newDrive(t, Config{Interval: time.Second})
	d.command(Command{ID: "x", Kind: CommandStop}).decline(1, 0, "no", false)
	require.Nil(t, d.view.Stop(), "without a savepoint it does not stop")
	d.command(Command{ID: "y", Kind: CommandCancel})
	require.Equal(t, "y", d.view.Stop().Command)
	require.Empty(t, d.result("y").Error)
}

func TestCoordinatorKeepsTheTopicSmall(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{Interval: time.Second, Retained: 3})
	for id := range int64(40) {
		d.after(time.Second)
		if id%2 == 0 {
			d.decline(id+1, 1, "no", true)
		} else {
			d.ack(id+1, 0, 1)
		}
	}
	require.LessOrEqual(t, len(d.view.Completed())+len(d.view.Aborted()), historyMax)
	require.Len(t, d.view.Retained(), 3)
	require.Empty(t, d.view.acks)
	require.Empty(t, d.view.triggers)
	require.Equal(t, int64(40), d.view.lastID)
}

func TestCoordinatorTellsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	d := newDrive(t, Config{Interval: time.Second, Unaligned: true})
	d.after(time.Second).ack(1, 1)
	id := record.TaskID{}
	d.receive(AckMessage(Ack{ID: 1, Task: id.String(), Snapshot: &TaskSnapshot{Task: id, InFlight: []Range{
		{Topic: "r", Partition: 1, Start: 9, End: 12}, {Topic: "r", Partition: 1, Start: 7, End: 8},
		{Topic: "r", Start: 1, End: 1},
	}}}))
	require.Equal(t, []Need{{Topic: "r", Partition: 1, Offset: 7}}, d.view.Completed()[0].Needs)
}
