package alerting

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"picket/detect/secret"
)

// SlackOptions configure the bot.
type SlackOptions struct {
	Name    string       // of the destination; "slack" by default
	Token   secret.Value // xoxb-...
	Channel string       // its id (C0123456789) rather than #name: looking for a lost answer needs the id
	APIURL  string       // Slack's own by default; ends with a slash

	Pace     time.Duration // between messages; 0 means Slack's limit of one a second and channel
	Client   *http.Client  // nil means one without redirects and with a time limit
	Renderer Renderer
}

// Slack tells one channel through a bot token. An incident is one thread: the
// first message is edited as counts grow, and a reply is added when it settles,
// goes on in another alert, or grows worse (which the channel sees too).
type Slack struct {
	name    string
	channel string
	token   secret.Value
	api     *slack.Client
	pace    pace
	render  Renderer
}

// metadataType marks messages, so that an unsure send finds them again.
const metadataType = "picket_incident"

// NewSlack checks the options; it does not call Slack.
func NewSlack(o SlackOptions) (*Slack, error) {
	switch {
	case !o.Token.IsSet():
		return nil, &SetupError{Problem: "slack: no bot token", Fix: "set alerting.slack.bot_token_file"}
	case !strings.HasPrefix(o.Token.Reveal(), "xoxb-"):
		return nil, &SetupError{Problem: "slack: not a bot token", Fix: "use the Bot User OAuth Token of the app, which starts with xoxb-"}
	case o.Channel == "":
		return nil, &SetupError{Problem: "slack: no channel", Fix: "set alerting.slack.channel to the channel's id (see About in the channel's details)"}
	}
	s := &Slack{name: o.Name, channel: o.Channel, token: o.Token, pace: pace{every: o.Pace}, render: o.Renderer}
	if s.name == "" {
		s.name = "slack"
	}
	if o.Pace == 0 {
		s.pace.every = time.Second
	}
	opts := []slack.Option{slack.OptionHTTPClient(httpClient(o.Client))} // no OptionRetry: the Notifier repeats
	if o.APIURL != "" {
		opts = append(opts, slack.OptionAPIURL(strings.TrimSuffix(o.APIURL, "/")+"/"))
	}
	s.api = slack.New(o.Token.Reveal(), opts...)
	return s, nil
}

// Name implements Destination.
func (s *Slack) Name() string { return s.name }

// Send implements Destination.
func (s *Slack) Send(ctx context.Context, i Incident) (Receipt, error) {
	channel, root, ok := strings.Cut(i.Thread, "/")
	if !ok {
		return s.open(ctx, i)
	}
	blocks, fallback := s.render.Blocks(i)
	err := s.call(ctx, "edit the incident's message", func(ctx context.Context) error {
		_, _, _, err := s.api.UpdateMessageContext(ctx, channel, root, s.message(i, "root", fallback, blocks)...)
		return err
	})
	note := ""
	switch code := slackCode(err); {
	case err == nil:
	case code == "message_not_found":
		// A person deleted the message, and the incident is not over.
		return s.open(ctx, i)
	case code == "edit_window_closed", code == "cant_update_message":
		note = "Slack no longer lets this message be edited; replies go on"
	default:
		return Receipt{}, err
	}
	reply, worse := s.render.Change(i)
	if reply == "" {
		return Receipt{Thread: i.Thread, ID: root, Note: note}, nil
	}
	id, err := s.reply(ctx, i, channel, root, reply, worse)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Thread: i.Thread, ID: id, Note: note}, nil
}

// open posts the first message of an incident.
func (s *Slack) open(ctx context.Context, i Incident) (Receipt, error) {
	note := ""
	if i.Unsure {
		ts, err := s.find(ctx, i, "root", s.channel, "")
		switch {
		case err == nil && ts != "":
			return Receipt{Thread: s.channel + "/" + ts, ID: ts, Note: "found the message of an earlier attempt"}, nil
		case err != nil:
			if _, again := retryable(err); again {
				return Receipt{}, err
			}
			note = "may repeat an earlier attempt: " + err.Error()
		}
	}
	blocks, fallback := s.render.Blocks(i)
	var channel, ts string
	err := s.call(ctx, "post the incident", func(ctx context.Context) (err error) {
		channel, ts, err = s.api.PostMessageContext(ctx, s.channel, s.message(i, "root", fallback, blocks)...)
		return s.noTime(ts, err)
	})
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Thread: channel + "/" + ts, ID: ts, Note: note}, nil
}

func (s *Slack) reply(ctx context.Context, i Incident, channel, root, sentence string, worse bool) (string, error) {
	part := replyPart(i)
	if i.Unsure {
		ts, err := s.find(ctx, i, part, channel, root)
		if err == nil && ts != "" {
			return ts, nil
		}
		if _, again := retryable(err); again {
			return "", err
		}
	}
	opts := append(s.message(i, part, clip(sentence, 300), replyBlocks(sentence)), slack.MsgOptionTS(root))
	if worse {
		opts = append(opts, slack.MsgOptionBroadcast())
	}
	var ts string
	err := s.call(ctx, "reply in the incident's thread", func(ctx context.Context) (err error) {
		_, ts, err = s.api.PostMessageContext(ctx, channel, opts...)
		return s.noTime(ts, err)
	})
	return ts, err
}

// replyPart tells the replies of one alert apart.
func replyPart(i Incident) string {
	if i.Alert.Settled {
		return "settled"
	}
	return "count-" + strconv.FormatUint(i.Alert.Count, 10)
}

// message is what every message has: blocks, a fallback in which nothing is
// markup, no unfurling, and the marks to find it by.
func (s *Slack) message(i Incident, part, fallback string, blocks []slack.Block) []slack.MsgOption {
	return []slack.MsgOption{
		slack.MsgOptionText(fallback, true),
		slack.MsgOptionBlocks(blocks...),
		slack.MsgOptionDisableMarkdown(),
		slack.MsgOptionDisableLinkUnfurl(),
		slack.MsgOptionDisableMediaUnfurl(),
		slack.MsgOptionLinkNames(false),
		slack.MsgOptionMetadata(slack.SlackMetadata{
			EventType:    metadataType,
			EventPayload: map[string]any{"incident": i.Key, "alert": brief(i.Alert.ID, 64), "part": part},
		}),
	}
}

// find looks for a message of an earlier attempt; "" is none.
func (s *Slack) find(ctx context.Context, i Incident, part, channel, root string) (string, error) {
	// The message is not older than the alert, give or take the clocks.
	oldest := strconv.FormatInt(i.Alert.FiredAt.Add(-10*time.Minute).Unix(), 10) + ".000000"
	cursor := ""
	for range 5 { // pages of 200
		var msgs []slack.Message
		err := s.call(ctx, "look for an earlier attempt", func(ctx context.Context) (err error) {
			if root != "" {
				msgs, _, cursor, err = s.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
					ChannelID: channel, Timestamp: root, Oldest: oldest, Limit: 200, Cursor: cursor, IncludeAllMetadata: true,
				})
				return err
			}
			h, err := s.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
				ChannelID: channel, Oldest: oldest, Limit: 200, Cursor: cursor, IncludeAllMetadata: true,
			})
			if err == nil {
				msgs, cursor = h.Messages, h.ResponseMetaData.NextCursor
			}
			return err
		})
		if err != nil {
			return "", err
		}
		for _, m := range msgs {
			p := m.Metadata.EventPayload
			if m.Metadata.EventType == metadataType && p["incident"] == i.Key && p["alert"] == i.Alert.ID && p["part"] == part {
				return m.Timestamp, nil
			}
		}
		if cursor == "" {
			break
		}
	}
	return "", nil
}

// call keeps the pace and sorts the errors.
func (s *Slack) call(ctx context.Context, doing string, do func(context.Context) error) error {
	if err := s.pace.wait(ctx); err != nil {
		return &RetryError{Err: fmt.Errorf("slack: %s: waiting for the rate limit: %w", doing, err)}
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err := do(ctx)
	s.pace.done()
	if err == nil {
		return nil
	}
	return sortSlack(err, doing, s.token, s.channel)
}

var errNoTime = errors.New("the answer has no timestamp")

func (s *Slack) noTime(ts string, err error) error {
	if err == nil && ts == "" {
		return errNoTime
	}
	return err
}
