package worker

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"time"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// Bounds of asking.
const (
	// standbyAskMax is the longest pause before a warm-up asks for its task again: the leader may not have known how
	// far it is, or others come first.
	standbyAskMax = 30 * time.Second
	// standbyPollTimeout bounds the questions about ends; the next ones ask again.
	standbyPollTimeout = 10 * time.Second
)

// fetched puts a batch into the stores that follow its partition.
func (s *Standbys) fetched(f *Fetched) {
	defer s.cfg.Fetcher.Release(f)
	logs := s.byLog[f.TopicPartition]
	if len(logs) == 0 || s.cfg.Fetcher.Stale(f) {
		return
	}
	reached := true
	for _, l := range slices.Clone(logs) {
		at := s.standbyOf(l)
		if at == nil {
			continue
		}
		err := f.Err
		if err == nil {
			err = s.apply(at, l, f, len(logs) > 1)
		}
		if err != nil {
			s.letGo(at, fmt.Errorf("store %q, %s at offset %d: %w", l.store, l.tp, l.at.Load(), err))
			continue
		}
		reached = reached && l.limited() && l.at.Load() >= s.limits[l.tp]
		s.consider(at)
	}
	if reached && len(s.byLog[f.TopicPartition]) > 0 {
		s.pause(f.TopicPartition)
	}
}

func (s *Standbys) standbyOf(l *followedLog) *standby {
	at := s.attached[l.r.cfg.ID]
	if at == nil || at.replica != l.r {
		return nil
	}
	return at
}

// apply puts a batch into a store. Of several stores with one log each may have been elsewhere, and gets a copy, since
// each makes its own records of it.
func (s *Standbys) apply(at *standby, l *followedLog, f *Fetched, shared bool) error {
	records, next, end := f.Records, f.Next, f.HighWatermark
	if l.limited() {
		end = s.limits[l.tp]
		next = min(next, end)
		records = records[:sort.Search(len(records), func(i int) bool { return records[i].Offset >= next })]
	}
	if shared {
		from := l.at.Load()
		records = slices.Clone(records[sort.Search(len(records), func(i int) bool { return records[i].Offset >= from }):])
	}
	if next > l.at.Load() {
		target := l.r.target
		target.log = l.changelogOf
		if err := target.Replay(l.store, records, next); err != nil {
			return err
		}
		l.at.Store(next)
	}
	l.end.Store(max(end, l.at.Load()))
	l.r.atEnd(s.clock().NowMs())
	if len(records) > 0 {
		at.loaded(l, len(records))
	}
	return nil
}

// resume fetches an input topic that is a changelog, if tasks have processed more of it than the stores have.
func (s *Standbys) resume(tp record.TopicPartition) {
	from, fetching := int64(-1), false
	for _, l := range s.byLog[tp] {
		l.end.Store(max(s.limits[tp], l.at.Load()))
		fetching = fetching || l.fetching
		if at := l.at.Load(); from < 0 || at < from {
			from = at
		}
	}
	if fetching || from < 0 || from >= s.limits[tp] {
		return
	}
	for _, l := range s.byLog[tp] {
		l.fetching = true
	}
	s.cfg.Fetcher.Add(tp, from)
}

// pause stops fetching an input topic at its limit: what comes after is not the table's yet.
func (s *Standbys) pause(tp record.TopicPartition) {
	for _, l := range s.byLog[tp] {
		l.fetching = false
	}
	s.cfg.Fetcher.Remove(tp)
}

// consider has a warm-up ask for its task if it is near enough to the end.
func (s *Standbys) consider(at *standby) {
	now := s.clock().Now()
	if s.cfg.OnCaughtUp == nil || now.Before(at.askAt) || !at.isWarmUp() || at.replica.lag() > s.cfg.AcceptableLag {
		return
	}
	at.askAt = now.Add(at.askAfter)
	at.askAfter = min(2*at.askAfter, standbyAskMax)
	s.cfg.Restorer.cfg.Logger.Info("a warm-up has caught up", slog.String("task", at.id.String()),
		slog.Int64("lag", at.replica.lag()))
	s.cfg.OnCaughtUp(at.id)
}

// watch asks for the ends of the changelogs from time to time: of one from which nothing comes nobody knows otherwise
// whether it has ended.
func (s *Standbys) watch(ctx context.Context) {
	t := s.clock().NewTimer(s.cfg.Poll)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		err := s.poll(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			s.cfg.Restorer.cfg.Logger.Warn("cannot ask how far standbys are, trying again", slog.Any("error", err))
		}
		failing = err != nil
		t.Reset(s.cfg.Poll)
	}
}

func (s *Standbys) poll(ctx context.Context) error {
	var written, limited []record.TopicPartition
	err := s.do(ctx, func() error {
		for tp, logs := range s.byLog {
			if logs[0].limited() {
				limited = append(limited, tp)
			} else {
				written = append(written, tp)
			}
		}
		return nil
	})
	if err != nil || len(written)+len(limited) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, standbyPollTimeout)
	defer cancel()
	cfg, asked := &s.cfg.Restorer.cfg, s.clock().NowMs()
	var ends map[record.TopicPartition]int64
	if len(written) > 0 {
		if ends, err = cfg.Admin.EndOffsets(ctx, written, true); err != nil {
			return err
		}
	}
	var committed map[record.TopicPartition]eos.Offset
	if len(limited) > 0 {
		if committed, err = cfg.Admin.PossiblyUnstableOffsets(ctx, cfg.GroupID, limited); err != nil {
			return err
		}
	}
	return s.do(ctx, func() error {
		s.known(ends, committed, asked)
		return nil
	})
}

// known takes in what was asked for at a time.
func (s *Standbys) known(
	ends map[record.TopicPartition]int64, committed map[record.TopicPartition]eos.Offset, at int64,
) {
	for tp, end := range ends {
		for _, l := range s.byLog[tp] {
			l.end.Store(max(end, l.at.Load()))
		}
	}
	for tp, o := range committed {
		if limit, ok := s.limits[tp]; ok && o.Offset > limit {
			s.limits[tp] = o.Offset
		}
		s.resume(tp)
	}
	for _, one := range s.attached {
		one.replica.atEnd(at)
		s.consider(one)
	}
}
