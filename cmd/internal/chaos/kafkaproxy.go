//go:build unix

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaProxy stands between one picket and the broker. It puts itself in the place of the
// broker in every answer that names one, so that no connection goes past it.
type kafkaProxy struct {
	to      string // host:port of the broker
	gate    *gate
	weak    string
	session int32 // ms that the group waits for a member that is silent
	l       net.Listener
	port    int32

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func (p *kafkaProxy) start() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.l, p.port, p.conns = l, int32(l.Addr().(*net.TCPAddr).Port), map[net.Conn]bool{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return nil
}

func (p *kafkaProxy) addr() string { return "127.0.0.1:" + strconv.Itoa(int(p.port)) }

func (p *kafkaProxy) stop() {
	_ = p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *kafkaProxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *kafkaProxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// asked is a request whose answer is due. A broker answers in order.
type asked struct {
	key, version int16
	point        point // kind "" where the gate does not care
}

func (p *kafkaProxy) serve(client net.Conn) {
	p.keep(client)
	defer p.drop(client)
	broker, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	p.keep(broker)
	due := make(chan asked, 100)
	var answers sync.WaitGroup
	answers.Go(func() {
		defer p.drop(client)
		_ = p.answers(broker, client, due)
	})
	_ = p.requests(client, broker, due)
	p.drop(broker)
	close(due)
	answers.Wait()
}

func (p *kafkaProxy) requests(client, broker net.Conn, due chan<- asked) error {
	in := bufio.NewReader(client)
	for {
		frame, err := readFrame(in)
		if err != nil {
			return err
		}
		frame, a, err := p.request(frame)
		if err != nil {
			return err
		}
		if a.point.kind != "" && !p.gate.pass(a.point) {
			return errors.New("cut before the broker")
		}
		due <- a
		if err := writeFrame(broker, frame); err != nil {
			return err
		}
	}
}

func (p *kafkaProxy) answers(broker, client net.Conn, due <-chan asked) error {
	in := bufio.NewReader(broker)
	for a := range due {
		frame, err := readFrame(in)
		if err != nil {
			return err
		}
		if frame, err = p.response(frame, a); err != nil {
			return err
		}
		if a.point.kind != "" {
			a.point.after = true
			if !p.gate.pass(a.point) {
				return errors.New("cut before the client")
			}
		}
		if err := writeFrame(client, frame); err != nil {
			return err
		}
	}
	return nil
}

// request says what a request is, and changes those that must be.
func (p *kafkaProxy) request(frame []byte) ([]byte, asked, error) {
	if len(frame) < 10 {
		return nil, asked{}, fmt.Errorf("a request of %d bytes", len(frame))
	}
	a := asked{key: int16(binary.BigEndian.Uint16(frame)), version: int16(binary.BigEndian.Uint16(frame[2:]))}
	switch kmsg.Key(a.key) {
	case kmsg.OffsetCommit, kmsg.JoinGroup:
	default:
		return frame, a, nil
	}
	req := kmsg.RequestForKey(a.key)
	req.SetVersion(a.version)
	head := 10 // key, version, correlation, length of the client's id
	if n := int16(binary.BigEndian.Uint16(frame[8:])); n > 0 {
		head += int(n)
	}
	if req.IsFlexible() {
		head++ // no tags
	}
	if head > len(frame) {
		return nil, a, errors.New("a request shorter than its head")
	}
	if err := req.ReadFrom(frame[head:]); err != nil {
		return nil, a, fmt.Errorf("read a request: %w", err)
	}
	switch r := req.(type) {
	case *kmsg.JoinGroupRequest:
		r.SessionTimeoutMillis = p.session
	case *kmsg.OffsetCommitRequest:
		a.point = commitPoint(r)
		if p.weak != weakDeclaration {
			return frame, a, nil
		}
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].Metadata = kmsg.StringPtr("")
			}
		}
	}
	return req.AppendTo(frame[:head:head]), a, nil
}

// commitPoint tells a commit that declares a batch from one that only acknowledges.
func commitPoint(r *kmsg.OffsetCommitRequest) point {
	for _, t := range r.Topics {
		for _, part := range t.Partitions {
			if part.Metadata == nil {
				continue
			}
			// "p1 E=<end>", and more after a blank
			end, _, _ := strings.Cut(strings.TrimPrefix(*part.Metadata, "p1 E="), " ")
			if n, err := strconv.ParseInt(end, 10, 64); err == nil && n > part.Offset {
				return point{kind: declare, partition: -1}
			}
		}
	}
	return point{kind: commit, partition: -1}
}

// response changes the answers that must be.
func (p *kafkaProxy) response(frame []byte, a asked) ([]byte, error) {
	switch kmsg.Key(a.key) {
	case kmsg.Metadata, kmsg.FindCoordinator:
	case kmsg.OffsetCommit, kmsg.Heartbeat:
		if p.weak != weakFence {
			return frame, nil
		}
	default:
		return frame, nil
	}
	res := kmsg.ResponseForKey(a.key)
	res.SetVersion(a.version)
	head := 4 // correlation
	if res.IsFlexible() {
		head++ // no tags
	}
	if head > len(frame) {
		return nil, errors.New("an answer shorter than its head")
	}
	if err := res.ReadFrom(frame[head:]); err != nil {
		return nil, fmt.Errorf("read an answer: %w", err)
	}
	switch r := res.(type) {
	case *kmsg.MetadataResponse:
		for i := range r.Brokers {
			r.Brokers[i].Host, r.Brokers[i].Port = "127.0.0.1", p.port
		}
	case *kmsg.FindCoordinatorResponse:
		if r.Port > 0 {
			r.Host, r.Port = "127.0.0.1", p.port
		}
		for i := range r.Coordinators {
			if c := &r.Coordinators[i]; c.Port > 0 {
				c.Host, c.Port = "127.0.0.1", p.port
			}
		}
	case *kmsg.HeartbeatResponse:
		unfence(&r.ErrorCode)
	case *kmsg.OffsetCommitResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				unfence(&r.Topics[i].Partitions[j].ErrorCode)
			}
		}
	}
	return res.AppendTo(frame[:head:head]), nil
}

// unfence hides that the group has moved past a member.
func unfence(code *int16) {
	for _, e := range []*kerr.Error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.FencedInstanceID} {
		if *code == e.Code {
			*code = 0
		}
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 100<<20 {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	frame := make([]byte, n)
	_, err := io.ReadFull(r, frame)
	return frame, err
}

func writeFrame(w io.Writer, frame []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(frame)), uint32(len(frame))), frame...))
	return err
}
