// Package alerting tells people that a rule fired.
//
// An alert comes from the topic picket.alerts, in order; a Notifier, one per
// destination, decides whether it opens an incident, updates one, or was told
// before, and hands it to a Destination. Kafka is the outbox: the Notifier
// holds an alert until the destination has taken it or has refused it for
// good, and only then does its caller commit. What was told goes to the topic
// picket.deliveries as a Delivery, and a Notifier that reads those records
// back (Restore) goes on where another one stopped.
//
// # Never twice, never lost
//
// A send can fail after it arrived. Then RetryError.Unsure is set, and the next
// attempt carries Incident.Unsure, so that a destination that can look, looks:
// PagerDuty folds repeats by dedup_key; Slack's chat.postMessage documents no
// idempotency key (client_msg_id is not among its arguments), so every message
// carries its incident and alert id as message metadata, and an unsure send
// searches the channel's history for them first. That needs the scope
// channels:history (groups:history in a private channel); without it, and with
// an incoming webhook, an unsure message may be told twice, and is not lost.
//
// # Text that an attacker wrote
//
// Titles, reasons and evidence contain names that came over the wire. Clean is
// the only way from an Alert into a Message: no control characters, no
// bidirectional or invisible ones, URLs and addresses defanged. Slack gets them
// only as rich_text text elements and plain_text, where nothing is markup, and
// the preview page only through html/template.
//
// # Secrets
//
// Tokens and webhook URLs are of type Secret, which prints as <redacted>.
// Errors of net/http repeat the URL; reach strips it.
package alerting
