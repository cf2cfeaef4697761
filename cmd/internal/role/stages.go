package role

import "time"

// stage adds to the time that the loop has spent in a stage.
func (l *Loop) stage(name string, took time.Duration) {
	l.Metrics.Stages.WithLabelValues(l.Name, name).Add(took.Seconds())
}

// timed measures a stage of its own.
func (l *Loop) timed(name string, fn func() error) error {
	began := time.Now()
	err := fn()
	l.stage(name, time.Since(began))
	return err
}

// reading adds what the consumer has spent since the last time, on its own goroutines too.
func (l *Loop) reading() {
	if l.Spent == nil {
		return
	}
	now := l.Spent()
	l.stage("fetch", now.Fetch-l.spent.Fetch)
	l.stage("unpack", now.Unpack-l.spent.Unpack)
	l.stage("declare", now.Commit-l.spent.Commit)
	l.spent = now
}

// laps splits the time of a loop over events by its stages. Only one event in lapEvery is
// timed, since reading the clock takes as long as a short stage does.
type laps struct {
	names []string
	sum   []time.Duration
	began time.Time // of the loop
	at    time.Time
	round int
	on    bool
}

const lapEvery = 64

func newLaps(stages ...string) laps {
	return laps{names: stages, sum: make([]time.Duration, len(stages))}
}

// start begins a loop.
func (l *laps) start() {
	clear(l.sum)
	l.began = time.Now()
}

// event begins an event.
func (l *laps) event() {
	l.round++
	if l.on = l.round%lapEvery == 0; l.on {
		l.at = time.Now()
	}
}

// lap ends a stage of an event.
func (l *laps) lap(stage int) {
	if l.on {
		now := time.Now()
		l.sum[stage] += now.Sub(l.at)
		l.at = now
	}
}

// stop ends the loop, and deals its time to the stages as those that were timed say.
func (l *laps) stop(to *Loop) {
	took, sum := time.Since(l.began), time.Duration(0)
	for _, d := range l.sum {
		sum += d
	}
	if sum == 0 { // too few events for a sample
		to.stage(l.names[0], took)
		return
	}
	for i, d := range l.sum {
		to.stage(l.names[i], time.Duration(float64(took)*float64(d)/float64(sum)))
	}
}
