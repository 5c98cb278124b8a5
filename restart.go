package tidemark

import "time"

// RestartStrategy decides whether and when an application starts again after an error (Flink's restart strategies).
// Next is called once per failure, from the goroutine of Run. ranFor is how long the application ran before it failed.
type RestartStrategy interface {
	Next(ranFor time.Duration) (delay time.Duration, restart bool)
}

type restartFunc func(ranFor time.Duration) (time.Duration, bool)

// Next implements RestartStrategy.
func (f restartFunc) Next(ranFor time.Duration) (time.Duration, bool) { return f(ranFor) }

// RestartNone lets Run return the first error.
func RestartNone() RestartStrategy {
	return restartFunc(func(time.Duration) (time.Duration, bool) { return 0, false })
}

// RestartFixedDelay restarts up to attempts times, each after the delay.
func RestartFixedDelay(attempts int, delay time.Duration) RestartStrategy {
	return restartFunc(func(time.Duration) (time.Duration, bool) {
		attempts--
		return delay, attempts >= 0
	})
}

// RestartFailureRate restarts after the delay, unless there were more than failuresMax failures within the interval of
// running time.
func RestartFailureRate(failuresMax int, interval, delay time.Duration) RestartStrategy {
	var failures []time.Duration // running time at each failure
	var total time.Duration
	return restartFunc(func(ranFor time.Duration) (time.Duration, bool) {
		total += ranFor
		failures = append(failures, total)
		for len(failures) > 0 && total-failures[0] > interval {
			failures = failures[1:]
		}
		return delay, len(failures) <= failuresMax
	})
}

// RestartExponentialDelay restarts without limit, after a delay that grows from initial by the factor up to most, and
// is back at initial once the application has run for resetAfter.
func RestartExponentialDelay(initial, most time.Duration, factor float64, resetAfter time.Duration) RestartStrategy {
	next := initial
	return restartFunc(func(ranFor time.Duration) (time.Duration, bool) {
		if ranFor >= resetAfter {
			next = initial
		}
		delay := next
		next = min(most, time.Duration(float64(next)*factor))
		return delay, true
	})
}
