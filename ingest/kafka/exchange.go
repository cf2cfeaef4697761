package kafka

import (
	"encoding/binary"
	"fmt"
	"io"

	kgo "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxResponse bounds the memory that one response can make us allocate. A broker may
// exceed the size that was asked for by one stored batch (max.message.bytes).
const maxResponse = 64 << 20

// exchange is a request that goes over kafka-go's connections (which find the broker, dial
// and authenticate) but is encoded and decoded by kmsg.
type exchange struct {
	clientID string
	newest   int16
	known    bool // that the broker speaks newest, also where kafka-go does not
	req      kmsg.Request
	res      kmsg.Response

	out []byte // memory for the request; may be nil

	// room gives memory for the response's body, whose texts and bytes are parts of it; new
	// memory if nil. After an error it must not be used again: the exchange may be still under way.
	room func(n int) []byte
	body []byte
}

// ApiKey is kafka-go's name for the kind of request.
func (e *exchange) ApiKey() protocol.ApiKey { return protocol.ApiKey(e.req.Key()) }

// Required is called with the versions that both sides speak.
func (e *exchange) Required(versions map[protocol.ApiKey]int16) bool {
	v := e.newest
	if !e.known {
		v = min(versions[e.ApiKey()], v)
	}
	e.req.SetVersion(v)
	return true
}

// exchange writes the request and reads the response.
func (e *exchange) exchange(rw io.ReadWriter) error {
	const correlation = 1 // one request at a time on a connection
	if e.out == nil {
		e.out = make([]byte, 0, 256)
	}
	out := append(e.out[:0], 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(e.req.Key()))
	out = binary.BigEndian.AppendUint16(out, uint16(e.req.GetVersion()))
	out = binary.BigEndian.AppendUint32(out, correlation)
	out = binary.BigEndian.AppendUint16(out, uint16(len(e.clientID)))
	out = append(out, e.clientID...)
	if e.req.IsFlexible() {
		out = append(out, 0) // no tags
	}
	out = e.req.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	e.out = out
	if _, err := rw.Write(out); err != nil {
		return err
	}
	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(head[:4])) - 4
	if size < 0 || size > maxResponse {
		return fmt.Errorf("response of %d bytes; the limit is %d", size, maxResponse)
	}
	if got := binary.BigEndian.Uint32(head[4:]); got != correlation {
		return fmt.Errorf("response for request %d, want %d", got, correlation)
	}
	if e.room != nil {
		e.body = e.room(int(size))[:size]
	} else {
		e.body = make([]byte, size)
	}
	if _, err := io.ReadFull(rw, e.body); err != nil {
		return err
	}
	e.res = e.req.ResponseKind()
	e.res.SetVersion(e.req.GetVersion())
	body := e.body
	if e.req.IsFlexible() {
		if len(body) == 0 || body[0] != 0 {
			return fmt.Errorf("%s response has tags in its header", kmsg.NameForKey(e.req.Key()))
		}
		body = body[1:]
	}
	if err := e.res.(interface{ UnsafeReadFrom([]byte) error }).UnsafeReadFrom(body); err != nil {
		return fmt.Errorf("decode %s response: %w", kmsg.NameForKey(e.req.Key()), err)
	}
	return nil
}

// toLeader routes an exchange to a partition's leader.
type toLeader struct {
	exchange
	topic     string
	partition int32
}

// RawExchange is called by kafka-go with the leader's connection.
func (t *toLeader) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	return t, t.exchange.exchange(rw)
}

// Broker finds the leader.
func (t *toLeader) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return leaderOf(cluster, t.topic, t.partition)
}

// toBrokerID routes an exchange to a broker by its id.
type toBrokerID struct {
	exchange
	id int32
}

// RawExchange is called by kafka-go with the broker's connection.
func (t *toBrokerID) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	return t, t.exchange.exchange(rw)
}

// Broker finds the broker, if the cluster still has it.
func (t *toBrokerID) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	b, ok := cluster.Brokers[t.id]
	if !ok {
		return protocol.Broker{ID: -1}, kgo.GroupCoordinatorNotAvailable
	}
	return b, nil
}

// toCoordinator routes an exchange to a group's coordinator.
type toCoordinator struct {
	exchange
	group string
}

// RawExchange is called by kafka-go with the coordinator's connection.
func (t *toCoordinator) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	return t, t.exchange.exchange(rw)
}

// Group makes kafka-go look up the coordinator.
func (t *toCoordinator) Group() string { return t.group }
