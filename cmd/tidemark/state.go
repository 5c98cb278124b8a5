package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tidemarkio/tidemark/checkpointing"
	"github.com/tidemarkio/tidemark/record"
)

func newState() *cobra.Command {
	return group("state", "Read the state in a checkpoint or savepoint", newStores(), newDump())
}

func newStores() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:               "stores LOCATION",
		Short:             "List the stores in a checkpoint or savepoint",
		Args:              exactly(1),
		ValidArgsFunction: p.completeLocations(checkpointing.KindCheckpoint, checkpointing.KindSavepoint),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := p.open()
			if err != nil {
				return err
			}
			r, err := checkpointing.OpenReader(cmd.Context(), s, p.locate(args[0]), nil)
			if err != nil {
				return err
			}
			if p.output == "json" {
				return printJSON(cmd.OutOrStdout(), r.Stores())
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "STORE\tSUB-TOPOLOGY\tTYPE\tKEY\tVALUE") // Flush tells of errors
			for _, s := range r.Stores() {
				_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", s.Name, s.Subtopology, s.Type, s.KeySerde, s.ValueSerde)
			}
			return w.Flush()
		},
	}
	p.flags(cmd, true)
	return cmd
}

const dumpHelp = `Prints the rows of a store, one line of JSON each:

  {"task":"0_1","key":{"base64":"YWxpY2U=","text":"alice"},"value":{"base64":"AAAAAAAAAAU="},"timestamp":1700000000000}

Keys and values are as in the store's changelog. "text" is there if they are printable. --key and --value decode them
into "decoded": string, json, int32, int64, float64, bool, time (milliseconds), hex, base64, or several of them with
commas between, of which one may take what the others leave:

  --key string --value int64                    a count
  --key byte,time,string --value json           a tumbling or hopping window: tag, start, key
  --key byte,int64,string,time,time             a session: tag, segment, key, end, start

What cannot be decoded is printed all the same, with "error"; such are the clocks of window stores, whose tag is 0.
LOCATION is a folder, as checkpoint list and savepoint list print it.`

// dump are the flags of a dump.
type dump struct {
	place
	key, value fields
	tasks      []string
	limit      int64
}

func newDump() *cobra.Command {
	var d dump
	cmd := &cobra.Command{
		Use:               "dump LOCATION STORE",
		Short:             "Print the rows of a store as JSON lines",
		Long:              dumpHelp,
		Args:              exactly(2),
		ValidArgsFunction: d.completeLocations(checkpointing.KindCheckpoint, checkpointing.KindSavepoint),
		RunE:              func(cmd *cobra.Command, args []string) error { return d.run(cmd, args[0], args[1]) },
	}
	d.flags(cmd, false)
	d.keyFlag(cmd)
	cmd.Flags().Var(&d.key, "key", "`DECODER` of keys")
	cmd.Flags().Var(&d.value, "value", "`DECODER` of values")
	cmd.Flags().StringSliceVar(&d.tasks, "task", nil, "only rows of this `TASK`, as in 0_3; may be repeated")
	cmd.Flags().Int64Var(&d.limit, "limit", 0, "stop after `N` rows; their files are then not checked to the end")
	return cmd
}

func (d *dump) run(cmd *cobra.Command, location, storeName string) error {
	s, err := d.open()
	if err != nil {
		return err
	}
	cipher, err := d.cipher()
	if err != nil {
		return err
	}
	var tasks []record.TaskID
	for _, text := range d.tasks {
		id, err := record.ParseTaskID(text)
		if err != nil {
			return fmt.Errorf("--task: %w", err)
		}
		tasks = append(tasks, id)
	}
	r, err := checkpointing.OpenReader(cmd.Context(), s, d.locate(location), cipher)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if f, ok := out.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		b := newBar(cmd, r.StateBytes(storeName, tasks...), "reading")
		defer b.end()
		r.OnRead(b.add)
	}
	w := bufio.NewWriter(out)
	if err := d.rows(cmd, r, storeName, tasks, w); err != nil {
		_ = w.Flush() // the rows before the error are worth having
		return err
	}
	return w.Flush()
}

// row is a line of a dump.
type row struct {
	Task      string `json:"task"`
	Key       *part  `json:"key"`
	Value     *part  `json:"value"`
	Timestamp int64  `json:"timestamp"`
}

// part is a key or a value.
type part struct {
	Base64  []byte `json:"base64"`
	Text    string `json:"text,omitempty"`
	Decoded any    `json:"decoded,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (d *dump) rows(
	cmd *cobra.Command, r *checkpointing.Reader, storeName string, tasks []record.TaskID, w io.Writer,
) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	var n int64
	for at, err := range r.Rows(cmd.Context(), storeName, tasks...) {
		if err != nil {
			return err
		}
		if err := lines.Encode(row{
			Task: at.Task.String(), Key: partOf(at.Key, d.key), Value: partOf(at.Value, d.value), Timestamp: at.Timestamp,
		}); err != nil {
			return err
		}
		if n++; n == d.limit {
			break
		}
	}
	return nil
}

// partOf is nil for null.
func partOf(data []byte, decoder fields) *part {
	if data == nil {
		return nil
	}
	p := &part{Base64: data}
	if printable(data) {
		p.Text = string(data)
	}
	if len(decoder.list) == 0 {
		return p
	}
	var err error
	if p.Decoded, err = decoder.decode(data); err != nil {
		p.Decoded, p.Error = nil, err.Error()
	}
	return p
}

func printable(data []byte) bool {
	return utf8.Valid(data) && !strings.ContainsFunc(string(data), func(r rune) bool {
		return !unicode.IsPrint(r) && r != '\n' && r != '\t'
	})
}
