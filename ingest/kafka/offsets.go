package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// position is what one partition's commit record holds.
type position struct {
	offset int64
	end    int64 // declared end, or -1
	meta   string
	none   bool // nothing is committed
	moved  bool // another program committed it
}

// fetchOffsets reads the group's commits for the given partitions.
func fetchOffsets(ctx context.Context, client *kgo.Client, group, topic string, parts []int32) (map[int32]position, error) {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	ids := make([]int, len(parts))
	for i, p := range parts {
		ids[i] = int(p)
	}
	res, err := client.OffsetFetch(ctx, &kgo.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: ids}})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return nil, fmt.Errorf("read the commits of group %s: %w", group, explain(err, "Describe", topic, group))
	}
	out := make(map[int32]position, len(parts))
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("read the commit of group %s for %s/%d: %w", group, topic, p.Partition, explain(p.Error, "Describe", topic, group))
		}
		pos := position{offset: p.CommittedOffset, none: p.CommittedOffset < 0}
		pos.end, pos.meta = decodeMeta(p.Metadata)
		pos.moved = !pos.none && foreign(p.Metadata)
		if pos.end <= pos.offset {
			pos.end = -1
		}
		out[int32(p.Partition)] = pos
	}
	for _, p := range parts {
		if _, ok := out[p]; !ok {
			return nil, fmt.Errorf("read the commit of group %s for %s/%d: the broker left it out", group, topic, p)
		}
	}
	return out, nil
}

// Offsets are the ends of a partition's log, and how far a group is with it.
type Offsets struct {
	Start, End int64
	Committed  int64 // everything before it is done; -1 if nothing was committed
}

// Offsets asks for each partition of a topic. It joins no group, and reads the commits before
// the ends of the logs, so that a group at work does not seem to be beyond them.
func (t *Topics) Offsets(ctx context.Context, group, topic string) ([]Offsets, error) {
	n, err := partitionCount(ctx, t.client, topic)
	if err != nil {
		return nil, err
	}
	parts := make([]int32, n)
	for i := range parts {
		parts[i] = int32(i)
	}
	var done map[int32]position
	for range backoff(ctx, 5) {
		done, err = fetchOffsets(ctx, t.client, group, topic, parts)
		if err == nil || !transient(err) {
			break
		}
	}
	if err != nil && !errors.Is(err, kgo.GroupIdNotFound) {
		return nil, err
	}
	logs, err := listBounds(ctx, t.client, topic, parts)
	if err != nil {
		return nil, err
	}
	out := make([]Offsets, n)
	for p, l := range logs {
		out[p] = Offsets{Start: l.first, End: l.last, Committed: -1}
		if pos, ok := done[p]; ok && !pos.none {
			out[p].Committed = pos.offset
		}
	}
	return out, nil
}

// errNoAnswer says that a commit was sent, and may be done or still on its way.
var errNoAnswer = errors.New("no answer to a commit")

// commitOffsets is fenced: the broker refuses it for any but the current generation.
func (m *membership) commitOffsets(ctx context.Context, g *generation, at map[int32]position) error {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.MemberID = m.group, g.id, g.member
	if m.instance != "" {
		req.InstanceID = &m.instance
	}
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = m.topic
	for p, pos := range at {
		meta, err := encodeMeta(pos.end, pos.meta)
		if err != nil {
			return err
		}
		x := kmsg.NewOffsetCommitRequestTopicPartition()
		x.Partition, x.Offset, x.Metadata = p, pos.offset, &meta
		t.Partitions = append(t.Partitions, x)
	}
	req.Topics = append(req.Topics, t)
	if m.coordinator < 0 {
		if err := m.findCoordinator(ctx); err != nil {
			return err
		}
	}
	res, err := m.client.Transport.RoundTrip(ctx, m.client.Addr, &toBrokerID{
		exchange: exchange{clientID: m.clientID, newest: commitVersion, req: req}, id: m.coordinator,
	})
	if err != nil {
		m.coordinator = -1
	}
	if unanswered(err) && !Unreachable(err) {
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if err != nil {
		return err
	}
	n := 0
	for _, t := range res.(*toBrokerID).res.(*kmsg.OffsetCommitResponse).Topics {
		for _, p := range t.Partitions {
			if err := code(p.ErrorCode); err != nil {
				m.coordinator = -1 // it may be another one
				return err
			}
			n++
		}
	}
	if n != len(at) {
		return fmt.Errorf("the broker answered for %d of %d partitions", n, len(at))
	}
	return nil
}

// commitVersion is the newest OffsetCommit without flexible encoding.
const commitVersion = 7

// findCoordinator is asked for once, and again after an error. kafka-go asks before each commit.
func (m *membership) findCoordinator(ctx context.Context) error {
	res, err := m.client.FindCoordinator(ctx, &kgo.FindCoordinatorRequest{Key: m.group, KeyType: kgo.CoordinatorKeyTypeConsumer})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return fmt.Errorf("find the coordinator of group %s: %w", m.group, unnamed(err))
	}
	m.coordinator = int32(res.Coordinator.NodeID)
	return nil
}

// bounds is the range of offsets that a partition's log has.
type bounds struct{ first, last int64 }

func listBounds(ctx context.Context, client *kgo.Client, topic string, parts []int32) (map[int32]bounds, error) {
	out := make(map[int32]bounds, len(parts))
	if len(parts) == 0 {
		return out, nil
	}
	req := make([]kgo.OffsetRequest, 0, 2*len(parts))
	for _, p := range parts {
		req = append(req, kgo.FirstOffsetOf(int(p)), kgo.LastOffsetOf(int(p)))
	}
	res, err := listOffsets(ctx, client, topic, req)
	if err != nil {
		return nil, err
	}
	for _, p := range res {
		out[int32(p.Partition)] = bounds{p.FirstOffset, p.LastOffset}
	}
	for _, p := range parts {
		if _, ok := out[p]; !ok {
			return nil, fmt.Errorf("list the offsets of %s/%d: the broker left it out", topic, p)
		}
	}
	return out, nil
}

// listOffsets tries again while the broker is still electing a leader.
func listOffsets(ctx context.Context, client *kgo.Client, topic string, req []kgo.OffsetRequest) ([]kgo.PartitionOffsets, error) {
	var last error
	for wait := range backoff(ctx, 5) {
		_ = wait
		rctx, cancel := context.WithTimeout(ctx, rpcTimeout)
		res, err := client.ListOffsets(rctx, &kgo.ListOffsetsRequest{Topics: map[string][]kgo.OffsetRequest{topic: req}})
		cancel()
		if err == nil {
			for _, p := range res.Topics[topic] {
				if p.Error != nil {
					err = p.Error
				}
			}
			if err == nil {
				return res.Topics[topic], nil
			}
		}
		last = err
		if !transient(err) {
			break
		}
	}
	return nil, fmt.Errorf("list the offsets of %s: %w", topic, explain(errors.Join(unnamed(last), ctx.Err()), "Describe", topic, ""))
}

// backoff yields up to n times (n <= 0: without end), with a growing pause before each but
// the first, until ctx is done.
func backoff(ctx context.Context, n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		pause := 50 * time.Millisecond
		for i := 0; n <= 0 || i < n; i++ {
			if i > 0 && !pauseFor(ctx, pause) {
				return
			}
			if i > 0 {
				pause = min(2*pause, 2*time.Second)
			}
			if !yield(i) {
				return
			}
		}
	}
}

// pauseFor reports false if ctx ended first.
func pauseFor(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// transient reports an error that passes by itself: an election, a lost connection. Refusals
// are not.
func transient(err error) bool {
	var code kgo.Error
	if errors.As(err, &code) {
		return code.Temporary() || code.Timeout() || code == kgo.NotCoordinatorForGroup || code == kgo.UnknownTopicOrPartition || code == kgo.Unknown
	}
	return !Permanent(err)
}
