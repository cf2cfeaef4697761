package alerting

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/slack-go/slack"

	"picket/detect/secret"
)

// slackError is a refusal by Slack for one message.
type slackError struct {
	code string
	text string
}

func (e *slackError) Error() string { return e.text }

// slackCode is Slack's word for what went wrong, or "".
func slackCode(err error) string {
	var e *slackError
	if errors.As(err, &e) {
		return e.code
	}
	return ""
}

// What a person has to do, by Slack's error code. %s is the channel.
var slackFixes = map[string]string{
	"not_in_channel":      "invite the app: type /invite @<its name> in %s",
	"channel_not_found":   "check alerting.slack.channel (%s); if it is a private channel, type /invite @<the app's name> there",
	"is_archived":         "unarchive %s, or set another alerting.slack.channel",
	"channel_is_archived": "unarchive the channel, or make a webhook for another one",
	"invalid_auth":        "the token in alerting.slack.bot_token_file is wrong, or this address is not allowed for it; copy it again from OAuth & Permissions",
	"not_authed":          "the token in alerting.slack.bot_token_file is empty; copy it again from OAuth & Permissions",
	"token_revoked":       "install the app again and replace the token in alerting.slack.bot_token_file",
	"token_expired":       "replace the token in alerting.slack.bot_token_file; turn token rotation off for this app",
	"account_inactive":    "the app was removed from the workspace: install it again and replace alerting.slack.bot_token_file",
	"missing_scope":       "add the scope chat:write (and channels:history or groups:history, to find messages again) and install the app again",
	"restricted_action":   "a workspace admin has to allow the app to post in %s",

	"restricted_action_read_only_channel": "a workspace admin has to allow the app to post in %s",
	"ekm_access_denied":                   "an admin of the workspace has suspended posting (Enterprise Key Management)",
	"no_service":                          "the webhook was removed: make a new one and replace alerting.slack.webhook_url_file",
	"no_active_hooks":                     "the webhook was disabled: make a new one and replace alerting.slack.webhook_url_file",
	"invalid_token":                       "the webhook's URL is wrong: copy it again into alerting.slack.webhook_url_file",
	"no_team":                             "the webhook's workspace does not exist: copy its URL again into alerting.slack.webhook_url_file",
	"action_prohibited":                   "a workspace admin has to allow posting through this webhook",
	"posting_to_general_channel_denied":   "choose another channel: only admins may post to this one",
}

// Codes after which the same call may succeed.
var slackAgain = map[string]bool{
	"ratelimited": true, "rate_limited": true, "internal_error": true, "fatal_error": true, "service_unavailable": true,
	"request_timeout": true, "team_added_to_org": true, "rollup_error": true,
}

// sortSlack decides whether a call may be tried again, and writes an error without the token.
func sortSlack(err error, doing string, token secret.Value, channel string) error {
	var limited *slack.RateLimitedError
	var status slack.StatusCodeError
	var refused slack.SlackErrorResponse
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &limited):
		return &RetryError{After: limited.RetryAfter, Err: fmt.Errorf("slack: %s: rate limited", doing)}
	case errors.As(err, &status):
		text := fmt.Errorf("slack: %s: HTTP %d", doing, status.Code)
		if status.Code >= 500 || status.Code == http.StatusRequestTimeout {
			return &RetryError{Unsure: true, Err: text}
		}
		if !aboutMessage(status.Code) { // Slack says no in the body of a 200
			return &SetupError{Problem: text.Error() + ", and the answer is not Slack's", Fix: "check alerting.slack.api_url, and the proxies on the way"}
		}
		return text
	case errors.As(err, &refused):
		return refusedBySlack(refused, doing, token, channel)
	case errors.As(err, &syntax), errors.Is(err, errNoTime):
		// Something answered 200 that was not Slack's API, or not all of it.
		return &RetryError{Unsure: true, Err: fmt.Errorf("slack: %s: the answer is not readable", doing)}
	}
	r := reach(err, token)
	r.Err = fmt.Errorf("slack: %s: %w", doing, r.Err)
	return r
}

// aboutMessage reports whether a status may be about the one request, so that others may pass.
func aboutMessage(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge
}

// slackWord is what a refusal by Slack is called.
var slackWord = regexp.MustCompile(`^[a-z][a-z_]{2,60}$`)

func refusedBySlack(e slack.SlackErrorResponse, doing string, token secret.Value, channel string) error {
	code := oneLine(e.Err, token)
	text := fmt.Sprintf("slack: %s: %s", doing, code)
	if slackAgain[code] {
		// Slack: "It's possible some aspect of the operation succeeded before the error was raised."
		return &RetryError{Unsure: code != "ratelimited" && code != "rate_limited", Err: errors.New(text)}
	}
	if fix, ok := slackFixes[code]; ok {
		return &SetupError{Problem: text, Fix: strings.ReplaceAll(fix, "%s", channel)}
	}
	for _, m := range e.ResponseMetadata.Messages {
		text += "; " + oneLine(m, token)
	}
	return &slackError{code: code, text: clip(text, 600)}
}
