package kafka

import (
	"context"
	"time"

	kgo "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafka-go's Heartbeat and LeaveGroup decode the throttle time as the error code, so a
// member never hears of a rebalance (v0.4.51), and Heartbeat goes to any broker instead of
// the coordinator. So both are sent as exchanges.

func heartbeat(ctx context.Context, client *kgo.Client, clientID, group, instance string, g *generation, within time.Duration) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation, req.MemberID = group, g.id, g.member
	if instance != "" {
		req.InstanceID = &instance
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	m, err := client.Transport.RoundTrip(ctx, client.Addr, &toCoordinator{
		exchange: exchange{clientID: clientID, newest: 3, req: req}, group: group,
	})
	if err != nil {
		return err
	}
	return code(m.(*toCoordinator).res.(*kmsg.HeartbeatResponse).ErrorCode)
}

func leaveGroup(ctx context.Context, client *kgo.Client, clientID, group, instance, member string) error {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = group, member // up to version 2
	who := kmsg.NewLeaveGroupRequestMember()
	who.MemberID = member
	if instance != "" {
		who.InstanceID = &instance
	}
	req.Members = append(req.Members, who)
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	m, err := client.Transport.RoundTrip(ctx, client.Addr, &toCoordinator{
		exchange: exchange{clientID: clientID, newest: 3, req: req}, group: group,
	})
	if err != nil {
		return err
	}
	res := m.(*toCoordinator).res.(*kmsg.LeaveGroupResponse)
	for _, w := range res.Members {
		if w.ErrorCode != 0 {
			return code(w.ErrorCode)
		}
	}
	return code(res.ErrorCode)
}

func code(c int16) error {
	if c == 0 {
		return nil
	}
	return kgo.Error(c)
}
