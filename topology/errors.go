package topology

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// BuildError is one mistake in a topology. [Builder.Build] joins all of them; find them with errors.AsType or As.
type BuildError struct {
	// Position is the file:line of the caller that made it.
	Position string
	// Operator is the function or method that was called there.
	Operator string
	// Problem says what is wrong, and what to do.
	Problem string
}

// Error implements error.
func (e *BuildError) Error() string {
	return fmt.Sprintf("topology: %s: %s: %s", e.Position, e.Operator, e.Problem)
}

// packagePath begins the name of every function of this package.
const packagePath = "github.com/tidemarkio/tidemark/topology."

// callerPosition returns the file:line of the innermost caller outside this package.
func callerPosition() string {
	const framesMax = 32 // an operator is never that deep
	var pcs [framesMax]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		inside := strings.HasPrefix(f.Function, packagePath) && !strings.HasSuffix(f.File, "_test.go")
		if !inside {
			return fmt.Sprintf("%s:%d", filepath.ToSlash(f.File), f.Line)
		}
		if !more {
			return "unknown position"
		}
	}
}
