package task

// Snapshotter lets a test stand between a task and its stores.
type Snapshotter = snapshotter

// SetSnapshotter replaces what cuts take snapshots from.
func (t *Task) SetSnapshotter(s Snapshotter) { t.alignment.snapshots = s }
