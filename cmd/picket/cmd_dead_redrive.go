package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"picket/alerting"
	"picket/cmd/internal/config"
	"picket/ingest"
	"picket/ingest/kafka"
)

// letter is one dead letter, as its topic has it.
type letter struct {
	Name      string    `json:"name"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Append    time.Time `json:"append"`
	Stage     string    `json:"stage"`
	Class     string    `json:"class"`
	Reason    string    `json:"reason"`
	At        int       `json:"byte"`
	Bytes     int       `json:"bytes"`
	Redriven  time.Time `json:"redriven,omitzero"`
	RedriveOf string    `json:"redrive_of,omitempty"` // the letter whose redrive failed again as this one

	key     []byte // nil: it had none, or was written before keys were kept
	value   []byte
	started bool // a redrive wrote that it would send it
}

// reason is worded as in ClickHouse's row.
func (l *letter) reason() string {
	return (&ingest.Reject{Msg: l.Reason, Offset: l.At}).Reason()
}

// redrives says whether it comes from a redrive, and when it was sent again itself.
func (l *letter) redrives() (s string) {
	if l.RedriveOf != "" {
		s = " (failed again: redrive of " + alerting.Clean(l.RedriveOf) + ")"
	}
	if !l.Redriven.IsZero() {
		s += " (sent again " + l.Redriven.UTC().Format(time.DateTime) + ")"
	}
	return s
}

// A header beside those of ingest.DeadLetter, and its values.
const (
	headerState  = "picket-redrive-state"
	stateStarted = "started" // a record of the dead topic: the letter with this key is about to be sent
	stateDone    = "done"    // and was
)

// morgue is the topic of dead letters, in memory.
type morgue struct {
	kafka   kafka.Config
	topics  config.Topics
	kept    time.Duration // bytes
	letters []*letter
	byName  map[string]*letter
}

func header(r *kafka.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// read takes the whole topic in: it is as short as its retention. A letter may be there
// twice, and the first counts.
func (m *morgue) read(ctx context.Context) error {
	err := kafka.Scan(ctx, m.kafka, m.topics.Dead, func(r kafka.Record) error {
		name := string(r.Key)
		switch header(&r, headerState) {
		case stateStarted:
			if l := m.byName[name]; l != nil {
				l.started = true
			}
			return nil
		case stateDone:
			if l := m.byName[name]; l != nil {
				l.Redriven = r.Append
			}
			return nil
		}
		if m.byName[name] != nil {
			return nil
		}
		l, err := letterOf(&r)
		if err != nil {
			return fmt.Errorf("%s offset %d is no dead letter of Picket: %w", m.topics.Dead, r.Offset, err)
		}
		m.byName[name], m.letters = l, append(m.letters, l)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the dead letters: %w", err)
	}
	return nil
}

func letterOf(r *kafka.Record) (*letter, error) {
	l := &letter{
		Name: string(r.Key), Topic: header(r, "picket-topic"), Stage: header(r, "picket-stage"), Class: header(r, "picket-class"),
		Reason: header(r, "picket-reason"), RedriveOf: header(r, ingest.HeaderRedrive), Bytes: len(r.Value), value: bytes.Clone(r.Value),
	}
	p, err := strconv.ParseInt(header(r, "picket-partition"), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("header picket-partition: %w", err)
	}
	l.Partition = int32(p)
	if l.Offset, err = strconv.ParseInt(header(r, "picket-offset"), 10, 64); err != nil {
		return nil, fmt.Errorf("header picket-offset: %w", err)
	}
	if l.Append, err = time.Parse(time.RFC3339Nano, header(r, "picket-append")); err != nil {
		return nil, fmt.Errorf("header picket-append: %w", err)
	}
	for _, h := range r.Headers {
		if h.Key == ingest.HeaderKey {
			l.key = append([]byte{}, h.Value...)
		}
	}
	l.At, _ = strconv.Atoi(header(r, "picket-byte")) // only shown
	return l, nil
}

// choose picks letters by name, or by the filter.
func (m *morgue) choose(names []string, f *deadFilter) ([]*letter, error) {
	var out []*letter
	for _, n := range names {
		l := m.byName[n]
		if l == nil {
			return nil, fmt.Errorf("there is no dead letter %q in %s: names are as 'picket dead list' shows them", n, m.topics.Dead)
		}
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	if len(names) > 0 {
		return slices.DeleteFunc(out, func(l *letter) bool { return !f.match(l) }), nil
	}
	for _, l := range m.letters {
		if f.match(l) {
			out = append(out, l)
		}
	}
	return out, nil
}

// redrive sends what was not sent before. It writes down that it will, sends, and writes
// down that it did: where the middle is in doubt, the events topic itself is asked. What failed
// again is sent only if failed says so, or every call would send what is wrong in itself once more.
func (m *morgue) redrive(ctx context.Context, e *env, chosen []*letter, failed, yes bool) error {
	if err := m.settle(ctx, chosen); err != nil {
		return err
	}
	var todo []*letter
	before, again, without, elsewhere := 0, 0, 0, 0
	for _, l := range chosen {
		switch {
		case !l.Redriven.IsZero():
			before++
		case l.RedriveOf != "" && !failed:
			again++
		case l.Class == string(ingest.ClassUnreadable) || l.Bytes == 0:
			without++
		case l.Topic != m.topics.Events:
			elsewhere++
		default:
			todo = append(todo, l)
		}
	}
	for _, c := range []struct {
		n   int
		why string
	}{{before, "sent again before"}, {again, "failed again after a redrive: send them by name or with --failed"}, {without, "without bytes to send"}, {elsewhere, "of another topic than " + m.topics.Events}} {
		if c.n > 0 {
			fmt.Fprintf(e.stderr, "left out: %d %s\n", c.n, c.why)
		}
	}
	if !yes {
		if err := listLetters(e.stdout, todo, false); err != nil {
			return err
		}
		fmt.Fprintln(e.stderr, "nothing was sent: add --yes to send them")
		return nil
	}
	const chunk = 500
	for part := range slices.Chunk(todo, chunk) {
		if err := m.send(ctx, part); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stdout, "%s sent again\n", count(len(todo), "dead letter"))
	return nil
}

func (m *morgue) send(ctx context.Context, letters []*letter) error {
	p, err := kafka.NewProducer(m.kafka, kafka.ProducerOptions{})
	if err != nil {
		return classify(err)
	}
	defer p.Close()
	if err := p.Produce(ctx, m.marks(letters, stateStarted)); err != nil {
		return fmt.Errorf("write down what will be sent: %w", classify(err))
	}
	var rs []kafka.Record
	for _, l := range letters {
		rs = append(rs, kafka.Record{
			Topic: l.Topic, Partition: l.Partition, Key: l.key, Value: l.value,
			Headers: []kafka.Header{{Key: ingest.HeaderRedrive, Value: []byte(l.Name)}},
		})
	}
	if err := p.Produce(ctx, rs); err != nil {
		return fmt.Errorf("send dead letters again (run it once more: what was sent is found): %w", classify(err))
	}
	if err := p.Produce(ctx, m.marks(letters, stateDone)); err != nil {
		return fmt.Errorf("write down what was sent (run it once more: it is found): %w", classify(err))
	}
	return nil
}

func (m *morgue) marks(letters []*letter, state string) []kafka.Record {
	var out []kafka.Record
	for _, l := range letters {
		out = append(out, kafka.Record{Topic: m.topics.Dead, Partition: 0, Key: []byte(l.Name), Headers: []kafka.Header{{Key: headerState, Value: []byte(state)}}})
	}
	return out
}

// settle finds out about letters whose redrive began and did not end. It reads the events
// topic, and only then.
func (m *morgue) settle(ctx context.Context, chosen []*letter) error {
	if !slices.ContainsFunc(chosen, func(l *letter) bool { return l.started && l.Redriven.IsZero() }) {
		return nil
	}
	err := kafka.ScanPast(ctx, m.kafka, m.topics.Events, func(r kafka.Record) error {
		if l := m.byName[header(&r, ingest.HeaderRedrive)]; l != nil && l.Redriven.IsZero() {
			l.Redriven = r.Append
		}
		return nil
	}, func(int32, kafka.Unreadable) error { return nil }) // a redrive sends none such
	if err != nil {
		return fmt.Errorf("look for what an interrupted redrive has sent: %w", classify(err))
	}
	return nil
}
