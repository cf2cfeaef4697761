package config

import (
	"net/netip"
	"net/url"
	"strings"
)

func (l *loader) checkRoles() {
	if l.given("roles") && len(l.cfg.Roles) == 0 {
		l.problem("roles", "leave roles out for all of them", "no role: this process would do nothing")
	}
}

func (l *loader) checkKafka() {
	k := l.cfg.Kafka
	l.checkTLS("kafka.tls", k.TLS)
	l.checkSASL(k)
	if len(k.Brokers) == 0 {
		for _, path := range []string{"kafka.tls.enabled", "kafka.sasl.mechanism"} {
			if l.given(path) && (k.TLS.Enabled || k.SASL.Mechanism != "none") {
				l.problem(path, "set kafka.brokers", "the embedded broker has neither TLS nor SASL")
			}
		}
	}
	seen := map[string]string{}
	for _, t := range []struct{ option, name string }{
		{"events", k.Topics.Events},
		{"signals", k.Topics.Signals},
		{"alerts", k.Topics.Alerts},
		{"deliveries", k.Topics.Deliveries},
		{"dead", k.Topics.Dead},
	} {
		if other := seen[t.name]; other != "" && t.name != "" {
			path := "kafka.topics." + t.option
			if !l.given(path) {
				path = "kafka.topics." + other
			}
			l.problem(path, "", "%s and %s are both %q", other, t.option, t.name)
		}
		seen[t.name] = t.option
	}
}

func (l *loader) checkSASL(k Kafka) {
	s := k.SASL
	if s.Mechanism == "none" {
		option := ""
		switch {
		case s.Username != "":
			option = "username"
		case s.PasswordFile != "":
			option = "password_file"
		case s.Password.IsSet():
			option = "password"
		default:
			return
		}
		l.problem("kafka.sasl."+option, "set mechanism: scram-sha-512", "%s without a mechanism", option)
		return
	}
	if l.wrong("kafka.sasl.mechanism") {
		return
	}
	if s.Username == "" && !l.wrong("kafka.sasl.username") {
		l.problem("kafka.sasl.mechanism", "", "mechanism %s needs a username", s.Mechanism)
	}
	if !s.Password.IsSet() && s.PasswordFile == "" && !l.wrong("kafka.sasl.password") {
		l.problem("kafka.sasl.mechanism", "", "mechanism %s needs a password_file or password", s.Mechanism)
	}
	if s.Mechanism == "plain" && !k.TLS.Enabled && !allLoopback(k.Brokers) {
		l.warning("kafka.sasl.mechanism", "set kafka.tls.enabled: true", "plain sends the password unencrypted")
	}
}

func allLoopback(addresses []string) bool {
	for _, a := range addresses {
		ap, err := netip.ParseAddrPort(a)
		if !strings.HasPrefix(a, "localhost:") && (err != nil || !ap.Addr().IsLoopback()) {
			return false
		}
	}
	return true
}

func (l *loader) checkTLS(section string, t TLS) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		have, missing := "cert_file", "key_file"
		if t.CertFile == "" {
			have, missing = missing, have
		}
		l.problem(section+"."+have, "set "+missing+" too", "%s without %s", have, missing)
	}
	for option, value := range map[string]string{"ca_file": t.CAFile, "cert_file": t.CertFile, "key_file": t.KeyFile, "server_name": t.ServerName} {
		if value != "" && !t.Enabled && !(section == "clickhouse.tls" && l.cfg.ClickHouse.encrypted()) {
			l.problem(section+"."+option, "set "+section+".enabled: true", "%s has no effect while TLS is off", option)
		}
	}
	l.checkTLSFiles(section, t)
}

func (c ClickHouse) encrypted() bool { return c.TLS.Enabled || strings.HasPrefix(c.URL, "https://") }

func (l *loader) checkClickHouse() {
	c := l.cfg.ClickHouse
	l.checkTLS("clickhouse.tls", c.TLS)
	if c.URL == "" && c.TLS.Enabled {
		l.problem("clickhouse.tls.enabled", "set clickhouse.url", "the embedded engine has no TLS")
	}
	if c.URL == "" && c.Password.IsSet() && !l.wrong("clickhouse.url") {
		l.problem(l.secretAt("clickhouse.password"), "set clickhouse.url", "the embedded engine has no password")
	}
	if strings.HasPrefix(c.URL, "http://") && c.TLS.Enabled {
		l.problem("clickhouse.url", "write https://, mostly on port 8443", "an http URL while TLS is on")
	}
	if u, err := url.Parse(c.URL); err == nil && c.Password.IsSet() && !c.encrypted() && c.URL != "" && !allLoopback([]string{u.Host}) {
		l.warning("clickhouse.url", "use https, or set clickhouse.tls.enabled: true", "the password is sent unencrypted")
	}
}

func (l *loader) checkAlerting() {
	s := l.cfg.Alerting.Slack
	const slack = "alerting.slack"
	token, webhook := l.secretAt(slack+".bot_token"), l.secretAt(slack+".webhook_url")
	if s.BotToken.IsSet() {
		if msg, hint := badSlackToken(s.BotToken.Reveal()); msg != "" {
			l.problem(token, hint, "%s", msg)
		}
		if s.Channel == "" && !l.wrong(slack+".channel") {
			l.problem(token, "set alerting.slack.channel", "a bot token without a channel to post to")
		}
	}
	if s.WebhookURL.IsSet() {
		u, err := url.Parse(s.WebhookURL.Reveal())
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" {
			l.problem(webhook, "it starts with https://hooks.slack.com/services/", "this is not the URL of a webhook")
		}
	}
	switch {
	case s.BotToken.IsSet() && s.WebhookURL.IsSet():
		l.problem(webhook, "keep the bot token: a webhook cannot thread or edit", "both a bot token and a webhook are set")
	case s.Channel != "" && !s.BotToken.IsSet() && !l.wrong(token):
		hint := "set bot_token_file"
		if s.WebhookURL.IsSet() {
			hint = "remove it: a webhook has its own channel"
		}
		l.problem(slack+".channel", hint, "a channel without a bot token")
	}
	if key := l.cfg.Alerting.PagerDuty.RoutingKey; key.IsSet() && len(key.Reveal()) != 32 {
		l.problem(l.secretAt("alerting.pagerduty.routing_key"), "it is in PagerDuty under Service, Integrations, Events API v2",
			"an integration key has 32 characters, this has %d", len(key.Reveal()))
	}
}

func (l *loader) checkWebhook() {
	w := l.cfg.Alerting.Webhook
	at := l.secretAt("alerting.webhook.url")
	u, err := url.Parse(w.URL.Reveal())
	switch {
	case !w.URL.IsSet():
		if key := l.secretAt("alerting.webhook.signing_key"); w.SigningKey.IsSet() && !l.wrong(at) {
			l.problem(key, "set alerting.webhook.url_file", "a signing key without a webhook")
		}
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		l.problem(at, "write the whole of it, such as https://soar.example/picket", "this is not the URL of a webhook")
	case u.Scheme == "http" && !allLoopback([]string{u.Host}):
		l.warning(at, "use https", "incidents are sent unencrypted")
	}
}

// secretAt is the path that the secret came from.
func (l *loader) secretAt(path string) string {
	if file := path + "_file"; l.given(file) {
		return file
	}
	return path
}

func badSlackToken(token string) (msg, hint string) {
	const where = "take the Bot User OAuth Token from the app's page OAuth & Permissions"
	switch prefix, _, _ := strings.Cut(token, "-"); {
	case strings.ContainsAny(token, " \t\r\n"):
		return "a Slack token has no spaces or line breaks", ""
	case prefix == "xoxb":
		return "", ""
	case prefix == "xoxp":
		return "this is a user token (xoxp-), not a bot token (xoxb-)", where
	case prefix == "xapp":
		return "this is an app-level token (xapp-), not a bot token (xoxb-)", where
	case strings.HasPrefix(token, "https://"):
		return "this is a URL, not a bot token (xoxb-)", "a webhook goes into webhook_url"
	default:
		return "a Slack bot token starts with xoxb-", where
	}
}
