package checkpointing

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// CheckpointFolder is where the files of a checkpoint lie.
func CheckpointFolder(applicationID string, id int64) string {
	return applicationID + "/chk-" + strconv.FormatInt(id, 10)
}

// SavepointFolder is where the files of a savepoint lie. The command's id keeps savepoints apart that have the same id
// because the control topic was deleted between them.
func SavepointFolder(applicationID string, id int64, command string) string {
	return fmt.Sprintf("%s/savepoint-%d-%.8s", applicationID, id, command)
}

// command takes a command. One that is known already is not taken twice.
func (c *Coordinator) command(now int64, cmd *Command, out *actions) {
	if _, answered := c.results[cmd.ID]; answered || c.running[cmd.ID] || c.waits(cmd.ID) {
		return
	}
	err := c.check(cmd)
	if err != nil {
		c.answer(now, cmd.ID, Result{Error: err.Error()}, out)
		return
	}
	switch cmd.Kind {
	case CommandCheckpoint, CommandSavepoint, CommandStop:
		c.queue = append(c.queue, cmd)
	case CommandCancel:
		c.stop(now, cmd.ID, "", out)
	case CommandConfigure:
		c.overrides = c.overrides.Merge(*cmd.Overrides)
		c.conf = c.overrides.Apply(c.cfg.Config)
		c.next = min(c.next, now+c.conf.Interval.Milliseconds())
		out.write(encode(keyConfig, c.overrides))
		c.answer(now, cmd.ID, Result{}, out)
	}
}

func (c *Coordinator) waits(id string) bool {
	return slices.ContainsFunc(c.queue, func(q *Command) bool { return q.ID == id })
}

// check tells why a command cannot be carried out.
func (c *Coordinator) check(cmd *Command) error {
	if c.stopped {
		return errors.New("the application is being stopped")
	}
	switch cmd.Kind {
	case CommandCheckpoint:
		if c.conf.Storage == nil {
			return errors.New("no checkpoint can be made: set Config.Checkpointing.Storage")
		}
	case CommandSavepoint, CommandStop:
		if c.conf.SavepointStorage == nil {
			return errors.New("no savepoint can be made: set Config.Checkpointing.SavepointStorage")
		}
	case CommandCancel:
		return nil
	case CommandConfigure:
		if cmd.Overrides == nil {
			return errors.New("the command changes nothing: it has no overrides")
		}
		changed := c.overrides.Merge(*cmd.Overrides).Apply(c.cfg.Config)
		return changed.Validate()
	default:
		return fmt.Errorf("the command %q is not known to this version", cmd.Kind)
	}
	if len(c.queue) >= commandsMax {
		return fmt.Errorf("%d commands are waiting already: try again later", len(c.queue))
	}
	return nil
}

// answer writes the result of a command and deletes the command.
func (c *Coordinator) answer(now int64, command string, r Result, out *actions) {
	if command == "" {
		return
	}
	delete(c.running, command)
	c.results[command] = now
	r.V, r.Command, r.FinishedMs = messageVersion, command, now
	out.write(encode(keyResult+command, r))
	out.tombstone(keyCommand + command)
}

// stop ends the application: all instances close when they read it. What waits or is in progress will not be.
func (c *Coordinator) stop(now int64, command, savepoint string, out *actions) {
	c.stopped = true
	if savepoint == "" {
		c.answer(now, command, Result{}, out)
	}
	for _, p := range slices.Clone(c.pending) {
		if !p.publishing {
			c.abort(now, p, "the application is being stopped", false, out)
		}
	}
	for _, cmd := range c.queue {
		c.answer(now, cmd.ID, Result{Error: "the application is being stopped"}, out)
	}
	c.queue = nil
	out.write(encode(keyStop, &Stop{V: messageVersion, StoppedMs: now, Command: command, Savepoint: savepoint}))
	if c.conf.Retention == DeleteOnCancellation {
		c.retained = nil
	}
	out.do(c.clean())
}
