package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	kgo "github.com/segmentio/kafka-go"
)

// membership is this process's place in a consumer group. One goroutine (Poll's) owns it;
// the heartbeat only reads the generation that it was started for.
type membership struct {
	client   *kgo.Client
	log      *slog.Logger
	clientID string
	topic    string
	group    string
	instance string
	session  time.Duration
	memberID string
	owned    []int32

	coordinator int32 // the broker that takes commits; -1: not known
}

// generation is one round of the group's agreement on who owns what.
type generation struct {
	id     int32
	member string
	parts  []int32

	over    chan struct{} // closed when the member must join again, or is out
	once    sync.Once
	lost    bool // written before over is closed: the member is out, its commits are refused
	stop    context.CancelFunc
	beaten  sync.WaitGroup
	unheard atomic.Pointer[error] // why heartbeats do not get through; nil while they do
}

func (g *generation) end(lost bool) {
	g.once.Do(func() {
		g.lost = lost
		close(g.over)
	})
}

func (g *generation) ended() bool {
	select {
	case <-g.over:
		return true
	default:
		return false
	}
}

// rebalanceTimeout is how long the group waits for a member to finish what it has in hand.
func (m *membership) rebalanceTimeout() time.Duration { return max(3*m.session, 30*time.Second) }

// join enters the group, and returns once the group has agreed on a generation.
func (m *membership) join(ctx context.Context) (*generation, error) {
	res, err := m.joinGroup(ctx)
	if err != nil {
		return nil, fmt.Errorf("join consumer group %s: %w", m.group, m.refused(err))
	}
	var deal []kgo.SyncGroupRequestAssignment
	if res.LeaderID == res.MemberID {
		if deal, err = m.deal(ctx, res); err != nil {
			return nil, fmt.Errorf("assign the partitions of %s in group %s: %w", m.topic, m.group, m.refused(err))
		}
	}
	rctx, cancel := context.WithTimeout(ctx, m.rebalanceTimeout()+rpcTimeout)
	defer cancel()
	sync, err := m.client.SyncGroup(rctx, &kgo.SyncGroupRequest{
		GroupID: m.group, GenerationID: res.GenerationID, MemberID: res.MemberID, GroupInstanceID: m.instance,
		ProtocolType: "consumer", ProtocolName: protocolName, Assignments: deal,
	})
	if err == nil {
		err = sync.Error
	}
	if err != nil {
		return nil, fmt.Errorf("sync consumer group %s: %w", m.group, m.refused(err))
	}
	g := &generation{id: int32(res.GenerationID), member: res.MemberID, over: make(chan struct{})}
	for _, p := range sync.Assignment.AssignedPartitions[m.topic] {
		g.parts = append(g.parts, int32(p))
	}
	slices.Sort(g.parts)
	m.owned = g.parts
	m.beat(g)
	return g, nil
}

func (m *membership) joinGroup(ctx context.Context) (*kgo.JoinGroupResponse, error) {
	owned := make([]int, len(m.owned))
	for i, p := range m.owned {
		owned[i] = int(p)
	}
	for {
		rctx, cancel := context.WithTimeout(ctx, m.rebalanceTimeout()+rpcTimeout)
		res, err := m.client.JoinGroup(rctx, &kgo.JoinGroupRequest{
			GroupID: m.group, MemberID: m.memberID, GroupInstanceID: m.instance,
			SessionTimeout: m.session, RebalanceTimeout: m.rebalanceTimeout(), ProtocolType: "consumer",
			Protocols: []kgo.GroupProtocol{{Name: protocolName, Metadata: kgo.GroupProtocolSubscription{
				Topics: []string{m.topic}, OwnedPartitions: map[string][]int{m.topic: owned},
			}}},
		})
		cancel()
		if err == nil {
			err = res.Error
		}
		switch {
		case err == nil:
			m.memberID = res.MemberID
			return res, nil
		case errors.Is(err, kgo.MemberIDRequired) && res.MemberID != "" && m.memberID != res.MemberID:
			m.memberID = res.MemberID // the broker names us first, then lets us in (KIP-394)
		default:
			return nil, err
		}
	}
}

// deal is the leader's part: it decides for all.
func (m *membership) deal(ctx context.Context, res *kgo.JoinGroupResponse) ([]kgo.SyncGroupRequestAssignment, error) {
	n, err := partitionCount(ctx, m.client, m.topic)
	if err != nil {
		return nil, err
	}
	members := make([]member, 0, len(res.Members))
	for _, r := range res.Members {
		if !slices.Contains(r.Metadata.Topics, m.topic) {
			return nil, fmt.Errorf("member %s reads %v in this group; use a group of its own for each topic", r.ID, r.Metadata.Topics)
		}
		name := r.GroupInstanceID
		if name == "" {
			name = r.ID
		}
		members = append(members, member{id: r.ID, name: name, owned: r.Metadata.OwnedPartitions[m.topic]})
	}
	var out []kgo.SyncGroupRequestAssignment
	for id, ps := range assign(members, n) {
		out = append(out, kgo.SyncGroupRequestAssignment{
			MemberID:   id,
			Assignment: kgo.GroupProtocolAssignment{AssignedPartitions: map[string][]int{m.topic: ps}},
		})
	}
	return out, nil
}

// refused forgets a member id that the group does not know any more.
func (m *membership) refused(err error) error {
	switch {
	case errors.Is(err, kgo.UnknownMemberId):
		m.memberID = ""
	case errors.Is(err, kgo.FencedInstanceID):
		return fmt.Errorf("%w: instance id %q", ErrInstanceTaken, m.instance)
	}
	return explain(err, "Read", m.topic, m.group)
}

// beat keeps the membership alive until leave or the next join. When the group rebalances it
// goes on beating, so that the batch in hand can be finished and acknowledged first.
func (m *membership) beat(g *generation) {
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	every := min(max(m.session/10, 200*time.Millisecond), 3*time.Second)
	group, instance, session := m.group, m.instance, m.session
	g.beaten.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		heard := time.Now()
		for misses := 0; ; misses++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := heartbeat(ctx, m.client, m.clientID, group, instance, g, session)
			switch {
			case err == nil:
				heard, misses = time.Now(), -1
				g.unheard.Store(nil)
			case ctx.Err() != nil:
				return
			case errors.Is(err, kgo.RebalanceInProgress):
				heard, misses = time.Now(), -1
				g.end(false)
			case fenced(err):
				g.end(true)
				return
			case time.Since(heard) > session:
				m.log.Warn("kafka: no heartbeat got through for a whole session; joining anew", "group", group, "error", err)
				g.end(true)
				return
			case misses > 0: // one alone may be a broker that hands its groups to another
				g.unheard.Store(&err)
			}
		}
	})
}

// fenced reports an answer that only a stale member gets.
func fenced(err error) bool {
	for _, e := range []error{kgo.IllegalGeneration, kgo.UnknownMemberId, kgo.RebalanceInProgress, kgo.FencedInstanceID, kgo.GroupIdNotFound} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// leave tells the group, so that the others need not wait for the session to time out.
func (m *membership) leave(ctx context.Context) error {
	if m.memberID == "" {
		return nil
	}
	err := leaveGroup(ctx, m.client, m.clientID, m.group, m.instance, m.memberID)
	if err != nil && !fenced(err) {
		return fmt.Errorf("leave consumer group %s: %w", m.group, err)
	}
	return nil
}

// forget makes the next join one of a newcomer. A static member is known by its instance id.
func (m *membership) forget() { m.memberID, m.owned = "", nil }
