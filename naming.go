package tidemark

import (
	"errors"
	"fmt"

	"github.com/tidemarkio/tidemark/processor"
)

// NamingError says that something that outlives a deployment has a generated name (KIP-1111).
type NamingError struct {
	// Position is the file:line of the declaration.
	Position string
	// Operator is the function or method that was called there.
	Operator string
	// Resource is what lacks a name, Name what was generated.
	Resource processor.Resource
	Name     string
	// Hint is the option to write.
	Hint string
}

func (e *NamingError) Error() string {
	return fmt.Sprintf("tidemark: %s: %s: the %s has the generated name %q, and is lost when an operator is inserted "+
		"above: write %s, or set Config.AllowGeneratedNames", e.Position, e.Operator, e.Resource, e.Name, e.Hint)
}

// checkNames joins a [NamingError] for everything that needs a name and has none.
func checkNames(plan *processor.Plan) error {
	var errs []error
	for _, u := range plan.Unnamed {
		errs = append(errs, &NamingError{
			Position: u.Position, Operator: u.Operator, Resource: u.Resource, Name: u.Name, Hint: u.Hint,
		})
	}
	return errors.Join(errs...)
}
