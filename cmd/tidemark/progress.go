package main

import (
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// barPause is how often a bar is drawn.
const barPause = 100 * time.Millisecond

// bar shows how far long work is, on a terminal; elsewhere it does nothing. Safe for concurrent use.
type bar struct {
	mu  sync.Mutex
	bar *progressbar.ProgressBar // nil: nothing is shown
}

// newBar shows a bar on standard error. What the command prints on the same terminal comes after the end.
func newBar(cmd *cobra.Command, bytes int64, what string) *bar {
	errs, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(errs.Fd())) || bytes == 0 {
		return &bar{}
	}
	return &bar{bar: progressbar.NewOptions64(bytes,
		progressbar.OptionSetWriter(errs), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
		progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(barPause))}
}

func (b *bar) add(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Add(n) // a bar that cannot be drawn stops nothing
	}
}

// end takes the bar away. Calling it again does nothing.
func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Finish()
	}
	b.bar = nil
}
