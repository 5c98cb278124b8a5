package tidemark

import (
	"fmt"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
)

// Pause makes this instance stand still: nothing is processed and no punctuator is called, until [App.Resume]. What has
// been processed is still committed, and the instance stays in its group with its tasks, so that nothing moves (Kafka
// Streams' pause, KIP-834). With sub-topologies, by the numbers that Describe prints, it is those only. It may be
// called before Run, holds over restarts after errors, and says nothing to other instances: each has to be paused.
//
// A checkpoint that finds a paused task waits for it, up to its timeout.
func (a *App) Pause(subtopologies ...int32) error {
	if err := a.knowSubtopologies(subtopologies); err != nil {
		return err
	}
	a.pauses.Pause(subtopologies...)
	return nil
}

// Resume ends what [App.Pause] began, of the given sub-topologies or, without any, of all. It takes up to 100 ms until
// the tasks go on.
func (a *App) Resume(subtopologies ...int32) error {
	if err := a.knowSubtopologies(subtopologies); err != nil {
		return err
	}
	a.pauses.Resume(subtopologies...)
	return nil
}

func (a *App) knowSubtopologies(ids []int32) error {
	for _, id := range ids {
		if !slices.ContainsFunc(a.plan.Subtopologies, func(s *processor.Subtopology) bool { return s.ID == id }) {
			return fmt.Errorf("tidemark: there is no sub-topology %d: Describe lists them", id)
		}
	}
	return nil
}
