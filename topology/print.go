package topology

import (
	"fmt"
	"io"
	"reflect"
	"sync"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

// Print writes a line for every record, "[label]: key, value" (Kafka Streams' print), to see what flows while a program
// is written. Null is null, bytes are text, and of a pointer that is no fmt.Stringer it writes what it points to. A
// record is printed again if its transaction failed. w needs no lock of its own as long as only Prints of this builder
// write to it; its error is one of user code.
func (s *KStream[K, V]) Print(w io.Writer, opts ...PrintOption) {
	const operator = "Print"
	if w == nil {
		s.b.fail(operator, "the writer is nil: os.Stdout, for one, is a writer")
	}
	c := printConfig{label: s.node.name}
	for _, o := range opts {
		o.applyPrint(&c)
	}
	format, ok := c.format.(PrintFormat[K, V])
	switch {
	case c.format == nil:
		format = keyAndValue[K, V]
	case !ok:
		s.b.fail(operator, "WithFormat: %T is not for keys of type %s and values of type %s", c.format,
			typeName[K](), typeName[V]())
	default:
		s.b.needFunc(operator, format == nil)
	}
	name, printing := s.b.nodeName(c.name, "KSTREAM-PRINTER-"), &s.b.printing
	s.b.addNode(operator, &graphNode{
		name: name, kind: processor.ProcessorNode,
		make: func(ctx processor.TaskContext) (any, error) {
			return &printNode[K, V]{
				userNode: userNode{ctx, name}, w: w, printing: printing, label: c.label, format: format,
			}, nil
		},
	}, s.node)
}

// printNode writes lines. Owned by the task goroutine, but for what printing protects.
type printNode[K, V any] struct {
	userNode

	printing *sync.Mutex // of w
	w        io.Writer
	label    string
	format   func(record.Record[K, V]) string
	line     []byte // scratch
}

// Receive implements processor.Receiver.
func (n *printNode[K, V]) Receive(r record.Record[K, V]) error {
	n.enter()
	n.line = fmt.Appendf(n.line[:0], "[%s]: %s\n", n.label, n.format(r))
	n.printing.Lock()
	defer n.printing.Unlock() // w may panic
	_, err := n.w.Write(n.line)
	return processor.WrapUserError(n.ctx, n.name, err)
}

func keyAndValue[K, V any](r record.Record[K, V]) string {
	return printed(r.Key, r.NullKey) + ", " + printed(r.Value, r.NullValue)
}

// printed writes a key or value as a reader expects it.
func printed(v any, null bool) string {
	if null {
		return "null"
	}
	switch v := v.(type) {
	case []byte:
		return string(v)
	case fmt.Stringer, error:
		return fmt.Sprint(v)
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && !p.IsNil() {
		return fmt.Sprint(p.Elem())
	}
	return fmt.Sprint(v)
}
