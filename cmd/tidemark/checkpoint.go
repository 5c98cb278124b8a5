package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/checkpointing/storage"
)

func newCheckpoint() *cobra.Command {
	return group("checkpoint", "Make, list and verify checkpoints",
		newList(checkpointing.KindCheckpoint), newShow("show", checkpointing.KindCheckpoint),
		newVerify(checkpointing.KindCheckpoint), newTrigger(), newConfigure())
}

func newSavepoint() *cobra.Command {
	return group("savepoint", "Make, list, inspect, verify, restore and delete savepoints",
		newList(checkpointing.KindSavepoint), newShow("inspect", checkpointing.KindSavepoint),
		newVerify(checkpointing.KindSavepoint), newDispose(), newCreate(), newStop(), newRestore(), newRescale())
}

// findAll finds checkpoints and savepoints, of all applications if none is given.
func findAll(ctx context.Context, s storage.Storage, applicationID string) ([]checkpointing.Found, error) {
	ids := []string{applicationID}
	if applicationID == "" {
		var err error
		if ids, err = checkpointing.Applications(ctx, s); err != nil {
			return nil, err
		}
	}
	var all []checkpointing.Found
	for _, id := range ids {
		found, err := checkpointing.List(ctx, s, id)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// listed is a line of a list.
type listed struct {
	ID          int64  `json:"id"`
	Location    string `json:"location"`
	State       string `json:"state"` // complete, incomplete or unusable
	CompletedMs int64  `json:"completedMs,omitempty"`
	DurationMs  int64  `json:"durationMs,omitempty"`
	Tasks       int    `json:"tasks,omitempty"`
	Bytes       int64  `json:"bytes"`
	StateBytes  int64  `json:"stateBytes"`
	Error       string `json:"error,omitempty"`
}

func newList(kind checkpointing.Kind) *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "list",
		Short: fmt.Sprintf("List the %ss in a storage, the newest first", kind),
		Long: fmt.Sprintf("Lists the %ss in a storage, the newest first. Those that are incomplete are in progress, or\n"+
			"were given up and not cleaned up yet. SIZE is what the %s stored, STATE SIZE what a restore reads.", kind, kind),
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := p.open()
			if err != nil {
				return err
			}
			found, err := findAll(cmd.Context(), s, p.applicationID)
			if err != nil {
				return err
			}
			lines := []listed{}
			for _, f := range found {
				if f.Kind == kind {
					lines = append(lines, lineOf(f))
				}
			}
			if p.output == "json" {
				return printJSON(cmd.OutOrStdout(), lines)
			}
			return printList(cmd.OutOrStdout(), lines)
		},
	}
	p.flags(cmd, true)
	cmd.Flags().StringVar(&p.applicationID, "application-id", "", "only those of the application with this `ID`")
	return cmd
}

func lineOf(f checkpointing.Found) listed {
	l := listed{ID: f.ID, Location: f.Location, State: "complete", Bytes: f.Bytes}
	switch {
	case errors.Is(f.Err, checkpointing.ErrNoManifest):
		l.State = "incomplete"
	case f.Err != nil:
		l.State, l.Error = "unusable", f.Err.Error()
	default:
		m := f.Manifest
		l.CompletedMs, l.DurationMs, l.Tasks = m.CompletedMs, m.CompletedMs-m.TriggeredMs, len(m.Tasks)
		l.Bytes, l.StateBytes = m.Bytes(), m.StateBytes()
	}
	return l
}

func printList(out io.Writer, lines []listed) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tLOCATION\tSTATE\tCOMPLETED\tDURATION\tTASKS\tSIZE\tSTATE SIZE") // Flush tells of errors
	for _, l := range lines {
		if l.State != "complete" {
			_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t\t\t\t%s\t\n", l.ID, l.Location, l.State, size(l.Bytes))
			continue
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.ID, l.Location, l.State, when(l.CompletedMs),
			time.Duration(l.DurationMs)*time.Millisecond, l.Tasks, size(l.Bytes), size(l.StateBytes))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, l := range lines {
		if l.Error != "" {
			if _, err := fmt.Fprintf(out, "\n%s\n", l.Error); err != nil {
				return err
			}
		}
	}
	return nil
}

func newShow(use string, kind checkpointing.Kind) *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   use + " LOCATION",
		Short: fmt.Sprintf("Show what a %s consists of", kind),
		Long: fmt.Sprintf("Shows what a %s consists of: inputs and their offsets, stores, tasks with their files.\n"+
			"LOCATION is its folder, as list prints it.", kind),
		Args:              exactly(1),
		ValidArgsFunction: p.completeLocations(kind),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.open()
			if err != nil {
				return err
			}
			m, err := checkpointing.Load(cmd.Context(), s, p.locate(args[0]))
			if err != nil {
				return err
			}
			if p.output == "json" {
				return printJSON(cmd.OutOrStdout(), m)
			}
			return printManifest(cmd.OutOrStdout(), m)
		},
	}
	p.flags(cmd, true)
	return cmd
}

func printManifest(out io.Writer, m *checkpointing.Manifest) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) } // Flush tells of errors
	line("%s %d\tof %s\tcompleted %s\tafter %s", m.Kind, m.ID, m.ApplicationID, when(m.CompletedMs),
		time.Duration(m.CompletedMs-m.TriggeredMs)*time.Millisecond)
	line("stored %s\tstate %s\tbuilds on %d\ttopology %s", size(m.Bytes()), size(m.StateBytes()), m.Base, m.Fingerprint)
	if len(m.Stores) > 0 {
		line("\nSTORE\tSUB-TOPOLOGY\tTYPE\tKEY\tVALUE\tVERSION")
	}
	for _, s := range m.Stores {
		line("%s\t%d\t%s\t%s\t%s\t%d", s.Name, s.Subtopology, s.Type, s.KeySerde, s.ValueSerde, s.SchemaVersion)
	}
	line("\nTASK\tEPOCH\tENTRIES\tSTATE\tFILES\tIN FLIGHT\tALIGNMENT\tSYNC\tASYNC\tINPUTS")
	for i := range m.Tasks {
		t := &m.Tasks[i]
		inputs := make([]string, len(t.Inputs))
		for j, in := range t.Inputs {
			inputs[j] = fmt.Sprintf("%s-%d@%d", in.Topic, in.Partition, in.Offset)
		}
		inFlight := int64(0)
		for _, r := range t.InFlight {
			inFlight += r.End - r.Start
		}
		line("%s\t%d\t%d\t%s\t%d\t%d\t%s\t%s\t%s\t%s", t.Task, t.Epoch, t.StateEntries(), size(t.StateBytes()), len(t.Files),
			inFlight, ms(t.Timings.AlignmentMs), ms(t.Timings.SyncMs), ms(t.Timings.AsyncMs), strings.Join(inputs, " "))
	}
	return w.Flush()
}

func newVerify(kind checkpointing.Kind) *cobra.Command {
	var p place
	all := false
	cmd := &cobra.Command{
		Use:   "verify [LOCATION]",
		Short: fmt.Sprintf("Read all of a %s and compare it with its checksums", kind),
		Long: fmt.Sprintf("Reads all files of a %s, checks each block and each entry, and compares lengths, numbers of\n"+
			"entries and SHA-256 with the manifest. With --all it does so with all in the storage. Ends with 1 if something\n"+
			"is wrong.", kind),
		Args: func(cmd *cobra.Command, args []string) error {
			if all {
				return exactly(0)(cmd, args)
			}
			return exactly(1)(cmd, args)
		},
		ValidArgsFunction: p.completeLocations(kind),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.open()
			if err != nil {
				return err
			}
			files := checkpointing.Files{Storage: s}
			if files.Cipher, err = p.cipher(); err != nil {
				return err
			}
			var found []checkpointing.Found
			if all {
				found, err = findAll(cmd.Context(), s, p.applicationID)
				found = slices.DeleteFunc(found, func(f checkpointing.Found) bool {
					return f.Kind != kind || errors.Is(f.Err, checkpointing.ErrNoManifest)
				})
			} else {
				f := checkpointing.Found{Location: p.locate(args[0])}
				f.Manifest, f.Err = checkpointing.Load(cmd.Context(), s, f.Location)
				found = []checkpointing.Found{f}
			}
			if err != nil {
				return err
			}
			return verify(cmd, files, found, p.output)
		},
	}
	p.flags(cmd, true)
	p.keyFlag(cmd)
	cmd.Flags().BoolVar(&all, "all", false, fmt.Sprintf("verify all %ss in the storage", kind))
	cmd.Flags().StringVar(&p.applicationID, "application-id", "", "with --all: only those of this application's `ID`")
	return cmd
}

// verified is the result for one checkpoint or savepoint.
type verified struct {
	Location string   `json:"location"`
	Good     bool     `json:"good"`
	Files    int      `json:"files"`
	Bytes    int64    `json:"bytes"`
	Errors   []string `json:"errors,omitempty"`
}

func verify(cmd *cobra.Command, files checkpointing.Files, found []checkpointing.Found, output string) error {
	var total int64
	for _, f := range found {
		if f.Manifest != nil {
			total += f.Manifest.StateBytes()
		}
	}
	bar := newBar(cmd, total, "verifying")
	defer bar.end()
	files.Read = bar.add
	good, results := true, []verified{}
	for _, f := range found {
		v := verified{Location: f.Location}
		err := f.Err
		if err == nil {
			v.Files, v.Bytes = len(f.Manifest.Files()), f.Manifest.StateBytes()
			err = files.Verify(cmd.Context(), f.Manifest)
		}
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		v.Good = err == nil
		if err != nil {
			good, v.Errors = false, strings.Split(err.Error(), "\n")
		}
		results = append(results, v)
	}
	bar.end()
	if err := printVerified(cmd.OutOrStdout(), results, output); err != nil {
		return err
	}
	if !good {
		return errLoss
	}
	return nil
}

func printVerified(out io.Writer, results []verified, output string) error {
	if output == "json" {
		return printJSON(out, results)
	}
	for _, v := range results {
		line := fmt.Sprintf("%s: good, %d files, %s\n", v.Location, v.Files, size(v.Bytes))
		if !v.Good {
			line = fmt.Sprintf("%s: DAMAGED\n  %s\n", v.Location, strings.Join(v.Errors, "\n  "))
		}
		if _, err := io.WriteString(out, line); err != nil {
			return err
		}
	}
	return nil
}

func newDispose() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "dispose LOCATION",
		Short: "Delete a savepoint",
		Long: "Deletes a savepoint with all of its files. Checkpoints are refused: the application deletes its own. To be\n" +
			"safe from typing errors, a folder without a readable manifest is refused too.",
		Args:              exactly(1),
		ValidArgsFunction: p.completeLocations(checkpointing.KindSavepoint),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.open()
			if err != nil {
				return err
			}
			location := p.locate(args[0])
			done, err := checkpointing.Dispose(cmd.Context(), s, location)
			if err != nil {
				return err
			}
			if p.output == "json" {
				return printJSON(cmd.OutOrStdout(), map[string]any{
					"location": location, "objects": done.Objects + 1, "bytes": done.Bytes,
				})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: deleted, %d objects, %s\n", location, done.Objects+1, size(done.Bytes))
			return err
		},
	}
	p.flags(cmd, true)
	return cmd
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

func when(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05Z") }

func ms(n int64) string { return (time.Duration(n) * time.Millisecond).String() }
