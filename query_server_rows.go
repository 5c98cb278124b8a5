package tidemark

import (
	"context"
	"encoding/binary"
	"net/http"
	"time"
)

// rowMax is how long a question for a row that came with others waits for its worker. Those for tasks of a slow one
// must not keep the others from their answers: they are told to come again.
const rowMax = attemptMax / 8

// asks answers questions for single rows that came together, each as soon as it can be.
func (h *queryHandler) asks(w http.ResponseWriter, r *http.Request) {
	body, ok := readAsk(w, r)
	if !ok {
		return
	}
	asks, err := decodeAsks(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", queryContentType)
	type numbered struct {
		i     int
		frame []byte
	}
	answers := make(chan numbered, len(asks))
	entered := h.enter(r)
	if entered {
		defer func() { <-h.slots }()
	}
	for i := range asks {
		if !entered {
			answers <- numbered{i, appendRefusal(nil, h.busy())}
			continue
		}
		go func(ctx context.Context) { answers <- numbered{i, h.row(ctx, &asks[i])} }(r.Context())
	}
	to := http.NewResponseController(w)
	defer func() { _ = to.SetWriteDeadline(time.Time{}) }() // the connection goes on
	var send []byte
	for left := len(asks); left > 0; left-- {
		a := <-answers
		send = append(binary.AppendUvarint(send, uint64(a.i)), a.frame...)
		if left > 1 && len(answers) > 0 {
			continue
		}
		if h.send(w, to, send, left > 1) != nil {
			return
		}
		send = send[:0]
	}
}

// row returns the frame that answers a question for a row.
func (h *queryHandler) row(ctx context.Context, q *ask) []byte {
	bounded, cancel := context.WithTimeout(ctx, rowMax)
	defer cancel()
	p, err := h.app.answer(bounded, q)
	frame, _, ok := h.frame(q, &p, err)
	if !ok {
		return appendRefusal(nil, refuse(refusedBusy, h.app.State(), "the worker that has the task is busy"))
	}
	return frame
}
