package measure

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Line is one JSON object whose fields stay in the order of Put.
type Line struct{ b strings.Builder }

// Put adds a field. A float64 gets three decimals, one that is not a number becomes null.
func (l *Line) Put(name string, value any) *Line {
	if l.b.Len() == 0 {
		l.b.WriteByte('{')
	} else {
		l.b.WriteByte(',')
	}
	l.b.WriteString(strconv.Quote(name) + ":")
	switch v := value.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			l.b.WriteString("null")
		} else {
			l.b.WriteString(strconv.FormatFloat(v, 'f', 3, 64))
		}
	default:
		text, err := json.Marshal(v)
		if err != nil {
			text = []byte(strconv.Quote(fmt.Sprint(v)))
		}
		l.b.Write(text)
	}
	return l
}

// String returns the object.
func (l *Line) String() string { return l.b.String() + "}" }
