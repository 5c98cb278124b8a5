package tidemark

import "log/slog"

// leavesGroup reports whether the instance leaves the group when it closes, so that others get its tasks.
func (in *incarnation) leavesGroup() bool {
	return in.app.cfg.LeaveGroupOnClose || in.app.cfg.DynamicMembership
}

// handOver goes on until others have taken our tasks, if they will get them anyway: they warm up meanwhile. An error is
// one that the incarnation ends with.
func (in *incarnation) handOver() error {
	if !in.leavesGroup() || len(in.manager.Owned()) == 0 {
		return nil
	}
	log := in.app.cfg.Logger
	began := in.app.clock.Now()
	t := in.app.clock.NewTimer(in.app.cfg.CloseTimeout / 2)
	defer t.Stop()
	select {
	case <-in.manager.Leave():
		log.Info("may leave the group", slog.Duration("took", in.app.clock.Since(began)))
	case <-t.C:
		log.Warn("leaving the group with tasks that others have no state of yet: they will stand still until it is restored",
			slog.Int("inputs", len(in.manager.Owned())), slog.String("hint", "Config.CloseTimeout is twice the time for it"))
	case err := <-in.failed:
		return err
	}
	return nil
}
